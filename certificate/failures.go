package certificate

import (
	"sync"
	"time"
)

// How long a name is left alone for which no certificate came: authorities bound how often one may fail, and how much one may ask for at all, and
// handshakes are anybody's.
const (
	firstPause   = time.Minute // twice as long after each failure
	longestPause = time.Hour
)

// failures are names for which no certificate came lately. The zero value is ready for use; its methods may be called concurrently.
type failures struct {
	mu    sync.Mutex
	names map[string]failure
}

type failure struct{ at, until time.Time }

// until is when a name is to be asked for again; the zero time: now.
func (f *failures) until(name string, now time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last, ok := f.names[name]; ok && now.Before(last.until) {
		return last.until
	}
	return time.Time{}
}

// add notes that none came for a handshake that began then. Those that waited for the same answer count once.
func (f *failures) add(name string, began, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last, ok := f.names[name]
	if ok && !began.After(last.at) {
		return
	}
	for other, one := range f.names {
		if now.Sub(one.until) > longestPause {
			delete(f.names, other)
		}
	}
	pause := firstPause
	if last, ok = f.names[name]; ok {
		pause = min(2*last.until.Sub(last.at), longestPause)
	}
	if f.names == nil {
		f.names = map[string]failure{}
	}
	f.names[name] = failure{now, now.Add(pause)}
}

// forget notes that there is one.
func (f *failures) forget(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.names, name)
}
