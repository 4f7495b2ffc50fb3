package nsjail

import (
	"sync"
	"time"
)

// hostWatch knows the sandboxes that may have to be ended for memory of the host that they take and the kernel counts to none of them. Safe for
// concurrent use.
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

// run looks from time to time until close, less often where a look takes long.
func (w *hostWatch) run(every time.Duration, look func()) {
	defer close(w.done)
	const share, most = 5, 2 * time.Second
	for pause := every; ; {
		select {
		case <-w.stop:
			return
		case <-time.After(pause):
		}
		began := time.Now()
		look()
		pause = max(every, min(share*time.Since(began), most))
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
