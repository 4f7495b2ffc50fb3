package logs

import (
	"context"
	"time"
)

// Most searches are done before they take a break. Those that last leave the processors to requests: of their time, one part in so many is
// work.
const (
	sprint      = 50 * time.Millisecond // without a break
	stint       = time.Millisecond      // between two
	searchShare = 4
)

// pacing is the time that a search has worked.
type pacing struct {
	since  time.Time // when it was looked at last
	free   time.Duration
	worked time.Duration // since the last break
}

func newPacing() pacing { return pacing{since: time.Now(), free: sprint} }

// pause takes a break where one is due, which ends with ctx. Call it often: what passed since it was called last counts as work.
func (p *pacing) pause(ctx context.Context) {
	now := time.Now()
	p.worked, p.since = p.worked+now.Sub(p.since), now
	if p.free > 0 {
		p.free -= p.worked
		p.worked = max(-p.free, 0)
		return
	}
	if p.worked < stint {
		return
	}
	timer := time.NewTimer((searchShare - 1) * p.worked)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	p.worked, p.since = 0, time.Now()
}
