package gateway

import (
	"sync"
	"sync/atomic"
	"time"
)

// watchdog calls expire when nothing moved for a time, or at the end of all time. Its methods may be called concurrently,
// from expire's goroutine too except for stop. expire is not running any more when stop has returned. Moving costs a look
// at the clock: the timer is left as it is, and looks for itself how long it was.
type watchdog struct {
	// expire is told for how long nothing moved. More than 0 means that it did nothing yet and wants to be asked again then.
	expire func(idle time.Duration) (more time.Duration)
	begin  time.Time
	last   atomic.Int64 // when something moved, since begin

	mu      sync.Mutex
	timer   *time.Timer
	limit   time.Duration
	final   time.Duration // since begin; 0: never
	due     time.Duration // of the timer, since begin
	stopped bool
}

// start begins the time. final is the time after which it is over, whatever moves; 0 is none.
func (w *watchdog) start(limit, final time.Duration, expire func(idle time.Duration) time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin, w.expire, w.limit, w.final = time.Now(), expire, limit, final
	w.due = w.cutLocked(limit)
	w.timer = time.AfterFunc(w.due, w.fire)
}

// cutLocked is a time since begin, at most the final one.
func (w *watchdog) cutLocked(due time.Duration) time.Duration {
	if w.final > 0 {
		return min(due, w.final)
	}
	return due
}

func (w *watchdog) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	now := time.Since(w.begin)
	idle := now - time.Duration(w.last.Load())
	if w.final > 0 && now >= w.final {
		w.stopped = true
		w.expire(idle)
		return
	}
	more := w.limit - idle
	if more <= 0 {
		more = w.expire(idle)
	}
	if more > 0 {
		w.armLocked(now + more)
		return
	}
	w.stopped = true
}

func (w *watchdog) armLocked(due time.Duration) {
	w.due = w.cutLocked(due)
	w.timer.Reset(w.due - time.Since(w.begin))
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
	now := time.Since(w.begin)
	w.last.Store(int64(now))
	if due := now + limit; due < w.due {
		w.armLocked(due)
	}
	return true
}

func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil { // it was started
		w.timer.Stop()
	}
}
