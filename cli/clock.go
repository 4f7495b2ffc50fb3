package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"go.uber.org/zap"

	"apibuilder/clock"
	"apibuilder/store/postgres"
)

// clockEvery is how often it is kept what time it is believed to be: what a killed server loses of it.
const clockEvery = 10 * time.Minute

// openClock makes what tells the time to whoever removes what is old.
func (s *server) openClock() (err error) {
	path := s.data.join("clock")
	_, missing := os.Stat(path)
	if s.clock, err = clock.Open(path); err != nil {
		return err
	}
	if _, err := os.Stat(s.data.join("apibuilder.db")); errors.Is(missing, fs.ErrNotExist) && err == nil {
		s.clock.Distrust(errors.New("there is a store, and no " + path + " yet")) // PostgreSQL has a clock of its own
	}
	if doubt := s.clock.Doubt(); doubt != nil {
		s.log.Warn("what the time was when the server last ran is not known: nothing old is removed for a day", zap.Error(doubt))
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

// mostSkew is by how much the clocks of a node and of the database may differ before the operator is told.
const mostSkew = time.Minute

// compareClocks has the operator told when this node's clock and the database's, by which others go, are not the same.
func (s *server) compareClocks(context.Context) error {
	if database, ok := s.database.(*postgres.Store); ok {
		s.background("comparison of clocks", func(ctx context.Context) {
			for {
				bounded, cancel := context.WithTimeout(ctx, scrapeTimeout)
				ahead, err := database.Ahead(bounded) // a database that is away others tell of
				cancel()
				if err == nil {
					s.tellSkew(ahead)
				}
				if pause(ctx, clockEvery) != nil {
					return
				}
			}
		})
	}
	return nil
}

func (s *server) tellSkew(ahead time.Duration) {
	if ahead.Abs() > mostSkew {
		s.log.Warn("this machine's clock and the database's differ: set them by NTP. Times of usage and logs, and months of quotas, are by this machine's",
			zap.Duration("ahead", ahead.Round(time.Second)))
	}
}
