package cli

import (
	"context"
	"time"

	"go.uber.org/zap"

	"apibuilder/store"
)

// followPlans has the manager follow what is changed about APIs, here and by other nodes, and start those that always run.
func (s *server) followPlans() {
	cancel := s.store.Subscribe(func(c store.Change) {
		s.deployer.Changed(c.APIID) // first: it is asked by the other
		s.manager.Changed(c.APIID)
	})
	s.onStop("subscription of plans", func(context.Context) error {
		cancel()
		return nil
	})
	s.background("start of what always runs", s.wakeKept)
}

// wakePause is between attempts to find what always runs.
const wakePause = 5 * time.Second

// wakeKept starts the APIs that have instances although nobody calls, once the store tells them.
func (s *server) wakeKept(ctx context.Context) {
	for {
		ids, err := s.store.AlwaysRunning(ctx)
		for _, id := range ids {
			s.manager.Changed(id)
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		s.log.Warn("find the APIs that always run: another attempt is made", zap.Error(err))
		if pause(ctx, wakePause) != nil {
			return
		}
	}
}
