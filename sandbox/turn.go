package sandbox

import (
	"context"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// mostTurn is how long one start holds up others.
const mostTurn = 5 * time.Second

// newTurns lets as many sandboxes start at a time as keep the processors busy. Where hundreds of programs are called at once,
// each then starts in the time that it takes, instead of all together running out of theirs.
func newTurns() *semaphore.Weighted { return semaphore.NewWeighted(int64(2 * runtime.NumCPU())) }

// turn waits for a start's turn, first come first served, before its time begins to run. end may be called again; over is called once,
// with the turn's end.
func (l *launcher) turn(ctx context.Context, over func()) (end func(), err error) {
	if err := l.turns.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	release := sync.OnceFunc(func() {
		l.turns.Release(1)
		over()
	})
	timer := time.AfterFunc(mostTurn, release)
	return func() {
		timer.Stop()
		release()
	}, nil
}
