package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"apibuilder/logs"
	"apibuilder/store"
)

var logSettings = []setting{
	{flag: "log-size", serve: true, value: "8M", usage: "most that is kept of what each API's programs print and what happens to them, a `SIZE`"},
	{flag: "log-age", serve: true, value: "30d", usage: "`TIME` for which it is kept"},
}

// readLogLimits reads the limits of every API's log. Its errors are usage errors.
func readLogLimits(s settings) (l logs.Limits, err error) {
	if l.Size, err = parse(s, "log-size", parseSize); err != nil {
		return l, err
	}
	if l.Age, err = parse(s, "log-age", parseSpan); err != nil {
		return l, err
	}
	switch {
	case l.Size < logs.LeastSize:
		return l, usagef("%s: %s is too small: keep 64K at least", s["log-size"].name, s.text("log-size"))
	case l.Age < logs.LeastAge:
		return l, usagef("%s: %s is too short: keep logs for a minute at least, 1m", s["log-age"].name, s.text("log-age"))
	}
	return l, nil
}

// openBook makes the book of what programs print. It reads what APIs want of it once the store is there.
func (s *server) openBook() {
	s.book = logs.New(logs.Config{
		Dir: s.data.join("logs"), Limits: s.options.logs, Now: s.clock.Now,
		Of: func(ctx context.Context, apiID string) (logs.Limits, error) {
			api, err := s.store.API(ctx, apiID)
			if errors.Is(err, store.ErrNotFound) { // it was deleted, or another node will delete it here
				return logs.Limits{}, nil
			}
			return logs.Limits{Size: api.Options.LogSize, Age: api.Options.LogAge}, err
		},
	})
	if s.predecessor.claim != nil {
		s.book.Share()
	}
	s.onStop("logs", func(context.Context) error { return s.book.Close() })
}

// followBook has the book follow the options of APIs, and what is too old go.
func (s *server) followBook(context.Context) error {
	s.book.Start(func(err error) { s.log.Warn("look after the logs of programs", zap.Error(err)) })
	cancel := s.store.Subscribe(func(c store.Change) {
		if c.APIID != "" {
			s.book.Changed(c.APIID)
		}
	})
	s.onStop("care for logs", func(context.Context) error {
		cancel()
		s.book.Stop()
		return nil
	})
	return nil
}

// lostLine is told to the operator, because the author cannot read it.
func (s *server) lostLine(apiID string, err error) {
	if err == nil {
		return
	}
	if lines := s.lost.count(time.Now()); lines > 0 {
		s.log.Error("lines of logs are lost", zap.Int("lines", lines), zap.String("api", apiID), zap.Error(fmt.Errorf("keep a line: %w", err)))
	}
}

// lostLines counts lines that could not be kept, because a program may print thousands in a second while the disk is full. The zero
// value is ready to use.
type lostLines struct {
	mu    sync.Mutex
	lines int // that were not told of
	told  time.Time
}

// lostPause is between two times that the operator is told.
const lostPause = 10 * time.Second

// count counts one. It returns how many are to be told of now, mostly none.
func (l *lostLines) count(now time.Time) (lines int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines++
	if !l.told.IsZero() && now.Sub(l.told) < lostPause {
		return 0
	}
	lines, l.lines, l.told = l.lines, 0, now
	return lines
}
