package sandbox

import (
	"errors"
	"time"
)

// backoff holds off an API that keeps failing, so that its consumers cannot make the host start it all the time.
type backoff struct {
	failures int
	until    time.Time
	last     error
}

const (
	backoffFirst  = time.Second
	backoffMax    = time.Minute
	backoffShort  = 10 * time.Second // a program that lives shorter than this has failed to start, in effect
	backoffFreely = 1                // so many failures cost nothing
)

func (b *backoff) check(now time.Time) error {
	if now.Before(b.until) {
		return b.last
	}
	return nil
}

func (b *backoff) failed(now time.Time, err error) {
	var exit *Exit
	if !errors.As(err, &exit) { // no room, a store that does not answer: not the program's doing
		return
	}
	b.last = err
	b.failures++
	if extra := b.failures - backoffFreely; extra > 0 {
		b.until = now.Add(min(backoffFirst<<min(extra-1, 10), backoffMax))
	}
}

func (b *backoff) died(now, started time.Time, exit *Exit) {
	if now.Sub(started) > backoffShort {
		*b = backoff{}
		return
	}
	b.failed(now, exit)
}
