package usage

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// HoursKept is how long hourly sums are kept at least; daily ones are kept for ever.
const HoursKept = 400 * 24 * time.Hour

const (
	pruneEvery = time.Hour
	pruneMost  = 2000 // at once: whoever stores records waits so long
)

// Prunable is where old records are removed; store.Store is one.
type Prunable interface {
	PruneUsage(ctx context.Context, records, hours time.Time, most int) (int64, error)
}

// Pruner removes records when they are old, at its start and every hour. Make one with NewPruner.
type Pruner struct {
	from   Prunable
	keep   time.Duration
	settle func(context.Context) error
	now    func() time.Time
	log    *zap.Logger
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// NewPruner returns one that keeps records for a time; 0: for ever. Hourly sums are kept for HoursKept, or as long as records. Before
// it removes anything it calls settle, after which no journal holds records that the store has: one that was removed would be new to the
// store if it came again. While settle fails nothing is removed. now is the time by which records are old, as clock.Clock tells it.
func NewPruner(from Prunable, keep time.Duration, settle func(context.Context) error, now func() time.Time, log *zap.Logger) *Pruner {
	return &Pruner{from: from, keep: keep, settle: settle, now: now, log: log}
}

// Start begins to remove; it waits for nothing. It is called once.
func (p *Pruner) Start() {
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	p.work.Go(func() {
		ticker := time.NewTicker(pruneEvery)
		defer ticker.Stop()
		for {
			p.prune(ctx)
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
}

// Stop ends it and waits until it has ended.
func (p *Pruner) Stop(context.Context) error {
	if p.cancel != nil {
		p.cancel()
	}
	p.work.Wait()
	return nil
}

func (p *Pruner) prune(ctx context.Context) {
	if err := p.settle(ctx); err != nil {
		if ctx.Err() == nil {
			p.log.Warn("old usage records are not removed while others are not delivered", zap.Error(err), zap.Duration("next_attempt_in", pruneEvery))
		}
		return
	}
	var records, hours time.Time // zero: nothing is old
	if p.keep > 0 {
		now := p.now()
		records, hours = now.Add(-p.keep), now.Add(-max(HoursKept, p.keep))
	}
	var removed int64
	for {
		n, err := p.from.PruneUsage(ctx, records, hours, pruneMost)
		removed += n
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			p.log.Warn("old usage records are not removed, another try follows", zap.Error(err), zap.Duration("in", pruneEvery))
			return
		case n == 0:
			if removed > 0 {
				p.log.Info("old usage records are removed", zap.Int64("records", removed))
			}
			return
		}
	}
}
