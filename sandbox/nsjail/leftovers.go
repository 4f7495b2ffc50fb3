package nsjail

import (
	"context"
	"sync"
	"time"
)

// leftovers are the control groups of jails that did not end in time: a process that waits for a file system which does not answer
// ends when that does. Each is removed when it can be, and what its jail holds of this host given back then, but not before.
type leftovers struct {
	ctx  context.Context // until close
	stop context.CancelFunc
	all  sync.WaitGroup
}

func newLeftovers() *leftovers {
	l := &leftovers{}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// add tries again and again to remove a group, and calls release when it is gone.
func (l *leftovers) add(g controlGroup, release func()) {
	l.all.Go(func() {
		for pause := leftoverPause; ; pause = min(2*pause, leftoverPauseMost) {
			select {
			case <-l.ctx.Done():
				return
			case <-time.After(pause):
			}
			if l.remove(g) == nil {
				release()
				return
			}
		}
	})
}

func (l *leftovers) remove(g controlGroup) error {
	ctx, cancel := context.WithTimeout(l.ctx, leftoverTimeout)
	defer cancel()
	return g.Remove(ctx)
}

// close gives up those that are left, and waits until nothing of them is tried.
func (l *leftovers) close() {
	l.stop()
	l.all.Wait()
}

const (
	leftoverPause     = time.Second
	leftoverPauseMost = time.Minute
	leftoverTimeout   = time.Second // of one try
)
