package cli

import (
	"context"
	"time"

	"go.uber.org/zap"

	"apibuilder/clock"
)

// clockEvery is how often it is kept what time it is believed to be: what a killed server loses of it.
const clockEvery = 10 * time.Minute

// openClock makes what tells the time to whoever removes what is old.
func (s *server) openClock() (err error) {
	if s.clock, err = clock.Open(s.data.join("clock")); err != nil {
		return err
	}
	s.background("clock", func(ctx context.Context) {
		tick := time.NewTicker(clockEvery)
		defer tick.Stop()
		for {
			if err := s.clock.Save(); err != nil {
				s.log.Warn("keep what time it is: less is removed after the next start", zap.Error(err))
			}
			select {
			case <-ctx.Done():
				_ = s.clock.Save() // it was tried before
				return
			case <-tick.C:
			}
		}
	})
	return nil
}
