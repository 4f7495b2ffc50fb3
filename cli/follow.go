package cli

import (
	"context"

	"go.uber.org/zap"

	"apibuilder/store"
)

// followPlans has the manager follow what is changed about APIs, here and by other nodes, and start those that always run.
func (s *server) followPlans() {
	cancel := s.store.Subscribe(func(c store.Change) { s.manager.Changed(c.APIID) })
	s.onStop("subscription of plans", func(context.Context) error {
		cancel()
		return nil
	})
	s.background("start of what always runs", s.wakeKept)
}

// wakeKept starts the APIs that have instances although nobody calls.
func (s *server) wakeKept(ctx context.Context) {
	ids, err := s.store.AlwaysRunning(ctx)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("find the APIs that always run: they start when they are called", zap.Error(err))
	}
	for _, id := range ids {
		s.manager.Changed(id)
	}
}
