package gateway

import (
	"sync"
	"sync/atomic"
	"time"
)

// watchdog tells that nothing moved for a time, or of the end of all time. It watches over one thing after the other: its methods may be
// called concurrently, but start and stop by whoever has the thing, and stop not by an expirer. Neither costs a timer: that is left as it
// is, and looks for itself how long it was. The zero value watches over nothing.
type watchdog struct {
	epoch time.Time    // of the first start: what follows counts from there
	last  atomic.Int64 // when something moved

	mu    sync.Mutex
	over  expirer // nil: it watches over nothing, or has told that it is over
	begin time.Duration
	limit time.Duration
	final time.Duration // 0: never
	timer *time.Timer
	due   time.Duration // of the timer; 0: it is not running
}

// expirer is what a watchdog watches over.
type expirer interface {
	// expire is told for how long nothing moved. More than 0 means that it did nothing yet and wants to be asked again then. It is not
	// running any more when stop has returned.
	expire(idle time.Duration) (more time.Duration)
}

// expireFunc is an expirer.
type expireFunc func(idle time.Duration) (more time.Duration)

func (f expireFunc) expire(idle time.Duration) (more time.Duration) { return f(idle) }

// start begins the time. final is the time after which it is over, whatever moves; 0 is none.
func (w *watchdog) start(limit, final time.Duration, over expirer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.epoch.IsZero() {
		w.epoch = time.Now()
	}
	now := w.now()
	w.over, w.begin, w.limit, w.final = over, now, limit, 0
	if final > 0 {
		w.final = now + final
	}
	w.last.Store(int64(now))
	w.armLocked(now, now+limit)
}

func (w *watchdog) now() time.Duration { return time.Since(w.epoch) }

// armLocked has the timer fire at due, or before.
func (w *watchdog) armLocked(now, due time.Duration) {
	if w.final > 0 {
		due = min(due, w.final)
	}
	switch {
	case w.due > 0 && w.due <= due:
		return
	case w.timer == nil:
		w.timer = time.AfterFunc(due-now, w.fire)
	default:
		w.timer.Reset(due - now)
	}
	w.due = due
}

func (w *watchdog) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due = 0
	if w.over == nil {
		return
	}
	now := w.now()
	idle := now - time.Duration(w.last.Load())
	if w.final > 0 && now >= w.final {
		w.over.expire(idle)
		w.over = nil
		return
	}
	more := w.limit - idle
	if more <= 0 {
		more = w.over.expire(idle)
	}
	if more <= 0 {
		w.over = nil
		return
	}
	w.armLocked(now, now+more)
}

// moved starts the time again.
func (w *watchdog) moved() { w.last.Store(int64(w.now())) }

// age is the time since start.
func (w *watchdog) age() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ageLocked()
}

// ageLocked is age for an expirer.
func (w *watchdog) ageLocked() time.Duration { return w.now() - w.begin }

// allow sets another time from now on. It reports false when the old one has run out.
func (w *watchdog) allow(limit time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over == nil {
		return false
	}
	w.limit = limit
	now := w.now()
	w.last.Store(int64(now))
	w.armLocked(now, now+limit)
	return true
}

// stop ends the time. The timer runs on, for what is watched over next.
func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = nil
}

// free stops the timer: nothing will be watched over any more.
func (w *watchdog) free() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = nil
	if w.timer != nil {
		w.timer.Stop()
		w.due = 0
	}
}
