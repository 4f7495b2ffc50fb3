package gateway

import (
	"sync"
	"sync/atomic"
	"time"
)

// watchdog calls expire when nothing moved for a time. Its methods may be called concurrently, from expire's goroutine
// too except for stop. expire is not running any more when stop has returned. Moving costs a look at the clock: the timer
// is left as it is, and looks for itself how long it was.
type watchdog struct {
	expire func()
	begin  time.Time
	last   atomic.Int64 // when something moved, since begin

	mu      sync.Mutex
	timer   *time.Timer
	limit   time.Duration
	due     time.Duration // of the timer, since begin
	stopped bool
}

func newWatchdog(limit time.Duration, expire func()) *watchdog {
	w := &watchdog{}
	w.start(limit, expire)
	return w
}

// start is for a watchdog that is part of something else.
func (w *watchdog) start(limit time.Duration, expire func()) {
	w.begin, w.expire, w.limit, w.due = time.Now(), expire, limit, limit
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(limit, w.fire)
}

func (w *watchdog) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	if left := time.Duration(w.last.Load()) + w.limit - time.Since(w.begin); left > 0 {
		w.armLocked(left)
		return
	}
	w.stopped = true
	w.expire()
}

func (w *watchdog) armLocked(wait time.Duration) {
	w.due = time.Since(w.begin) + wait
	w.timer.Reset(wait)
}

// moved starts the time again.
func (w *watchdog) moved() { w.last.Store(int64(time.Since(w.begin))) }

// allow sets another time from now on. It reports false when the old one has run out.
func (w *watchdog) allow(limit time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return false
	}
	w.limit = limit
	w.moved()
	if time.Since(w.begin)+limit < w.due {
		w.armLocked(limit)
	}
	return true
}

func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}
