package nsjail

import (
	"sync"
	"time"
)

// hostLook is how often the host is looked at for memory that sandboxes take and the kernel counts to none of them.
const hostLook = 500 * time.Millisecond

// hostWatch knows the sandboxes that may have to be ended for what the host shows. Safe for concurrent use.
type hostWatch struct {
	stop, done chan struct{}

	mu      sync.Mutex
	watched map[uint32]watched // by the user id of the sandbox
}

// watched is a sandbox that has not been ended.
type watched struct {
	processes func() []int // in it, as the host numbers them
	end       func()
}

func newHostWatch() hostWatch {
	return hostWatch{stop: make(chan struct{}), done: make(chan struct{}), watched: map[uint32]watched{}}
}

// run looks until close.
func (w *hostWatch) run(look func()) {
	defer close(w.done)
	tick := time.NewTicker(hostLook)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
			look()
		}
	}
}

func (w *hostWatch) close() {
	close(w.stop)
	<-w.done
}

// watch has the sandbox of uid be ended, once, when it takes too much, until forget.
func (w *hostWatch) watch(uid uint32, s watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watched[uid] = s
}

func (w *hostWatch) forget(uid uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watched, uid)
}

// end ends the sandbox of uid, unless there is none.
func (w *hostWatch) end(uid uint32) {
	w.mu.Lock()
	s, ok := w.watched[uid]
	delete(w.watched, uid)
	w.mu.Unlock()
	if ok {
		s.end()
	}
}

// all are the sandboxes that are there now.
func (w *hostWatch) all() map[uint32]watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make(map[uint32]watched, len(w.watched))
	for uid, s := range w.watched {
		all[uid] = s
	}
	return all
}
