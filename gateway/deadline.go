package gateway

import (
	"sync"
	"time"
)

// deadline is one direction's deadline of a connection. The server moves deadlines several times for each request, nearly
// always to later, and each time costs the runtime a timer. So a deadline that is moved to later stays where it was, and
// whoever meets it too early moves it then. Safe for concurrent use; a zero time is none.
type deadline struct {
	set   func(time.Time) error // of the connection
	eager bool                  // the connection does not outlive a timeout: every move is made at once

	mu    sync.Mutex
	want  time.Time
	armed time.Time // what the connection was told
}

// move sets the deadline.
func (d *deadline) move(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.want = t
	later := t.IsZero() || !d.armed.IsZero() && !t.Before(d.armed) // than what the connection was told, which may have passed
	if later && !d.eager {
		return nil
	}
	d.armed = t
	return d.set(t)
}

// early reports whether a timeout came before the deadline that is wanted, which then holds.
func (d *deadline) early() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passedLocked() {
		return false
	}
	if d.want.Equal(d.armed) { // somebody else moved it meanwhile
		return true
	}
	d.armed = d.want
	return d.set(d.want) == nil
}

// passed reports whether it is over.
func (d *deadline) passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passedLocked()
}

func (d *deadline) passedLocked() bool { return !d.want.IsZero() && !time.Now().Before(d.want) }
