package cli

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// cleaning is how often the server looks for environments that nobody needs.
const cleaning = time.Hour

// openCleaning removes unused environments from time to time, the first time at once.
func (s *server) openCleaning(context.Context) error {
	s.background("cleaning of environments", func(ctx context.Context) {
		tick := time.NewTicker(cleaning)
		defer tick.Stop()
		for {
			s.clean(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return nil
}

// clean is one round. Every version in the store keeps its environment, and with it every sandbox that runs.
func (s *server) clean(ctx context.Context) {
	users, err := environmentUsers(ctx, s.store)
	policy := s.options.host.builds.policy()
	policy.InUse = inUse(users)
	if err == nil {
		gone, pruneErr := s.host.builder.Prune(ctx, policy)
		for _, g := range gone {
			s.log.Info("removed an unused environment", zap.String("key", g.Key), zap.String("reason", g.Reason), zap.Int64("bytes", g.Bytes))
		}
		err = pruneErr
	}
	if err != nil && ctx.Err() == nil {
		s.log.Error("clean up environments", zap.Error(err))
	}
}
