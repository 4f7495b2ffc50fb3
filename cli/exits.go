package cli

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"apibuilder/store"
)

// exits records how sandboxes ended. A store that does not answer holds up nobody for long, because a program counts as running until
// its end is told of.
type exits struct {
	store interface {
		AddExit(ctx context.Context, e store.Exit) error
	}
	log  *zap.Logger
	work sync.WaitGroup
}

// recordPatience is how long an end waits for its record, which is there before anybody is told of it as long as the store is well.
const recordPatience = 100 * time.Millisecond

// keep records one. It may be called concurrently, but not after stop.
func (x *exits) keep(e store.Exit) {
	done := make(chan struct{})
	x.work.Go(func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := x.store.AddExit(ctx, e); err != nil {
			x.log.Warn("record how a sandbox ended", zap.String("api", e.APIID), zap.Error(err))
		}
	})
	timer := time.NewTimer(recordPatience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// stop waits for what is being recorded.
func (x *exits) stop(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.work.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
