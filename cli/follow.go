package cli

import (
	"context"

	"go.uber.org/zap"

	"apibuilder/store"
)

// followPlans has the manager follow what is changed about APIs, here and by other nodes, and start those that always run.
func (s *server) followPlans() {
	cancel := s.store.Subscribe(func(c store.Change) { s.manager.Changed(c.APIID) })
	ctx, end := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.wakeKept(ctx)
	}()
	s.onStop("follower of plans", func(context.Context) error {
		cancel()
		end()
		<-done
		return nil
	})
}

// wakeKept starts the APIs that have instances although nobody calls.
func (s *server) wakeKept(ctx context.Context) {
	apis, err := s.store.APIs(ctx)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("find the APIs that always run: they start when they are called", zap.Error(err))
	}
	for _, api := range apis {
		if api.Options.MinInstances > 0 && api.ActiveVersion != 0 {
			s.manager.Changed(api.ID)
		}
	}
}
