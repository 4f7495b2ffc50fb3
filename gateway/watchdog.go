package gateway

import (
	"sync"
	"time"
)

// watchdog calls expire when nothing moved for a time. Its methods may be called concurrently, from expire's goroutine
// too except for stop. expire is not running any more when stop has returned.
type watchdog struct {
	expire func()

	mu      sync.Mutex
	timer   *time.Timer
	limit   time.Duration
	stopped bool
}

func newWatchdog(limit time.Duration, expire func()) *watchdog {
	w := &watchdog{expire: expire, limit: limit}
	w.timer = time.AfterFunc(limit, w.fire)
	return w
}

func (w *watchdog) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.stopped = true
		w.expire()
	}
}

// moved starts the time again.
func (w *watchdog) moved() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.timer.Reset(w.limit)
	}
}

// allow sets another time from now on. It reports false when the old one has run out.
func (w *watchdog) allow(limit time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return false
	}
	w.limit = limit
	w.timer.Reset(limit)
	return true
}

func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}
