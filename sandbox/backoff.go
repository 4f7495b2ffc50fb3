package sandbox

import (
	"errors"
	"fmt"
	"time"
)

// backoff holds off an API that keeps failing, so that its consumers cannot make the host start it all the time.
type backoff struct {
	failures int // of the program
	faults   int // since then, of the host: see SandboxFailed
	until    time.Time
	last     *Exit
}

const (
	backoffFirst  = time.Second
	backoffMax    = time.Minute
	backoffShort  = 10 * time.Second // a program that lives shorter than this has failed to start, in effect
	backoffFreely = 1                // so many failures cost nothing
	backoffFault  = 10 * time.Second // at most, for what the host lacks: its mending must not be waited for

	loopAfter = 10               // so many failures in a row are a loop
	loopPause = 10 * time.Minute // between starts of a program in a loop; what it lacked may be there by then
)

// Trouble is what holds an API off.
type Trouble struct {
	Reason   Reason // of the last failure
	Failures int    // in a row
	Until    time.Time
	Loop     bool // it fails whenever it is started: see CrashLoop
}

// looping reports whether the program fails whenever it is started, as far as it was started of late.
func (b *backoff) looping() bool { return b.failures >= loopAfter && b.faults == 0 }

func (b *backoff) trouble(now time.Time) (Trouble, bool) {
	if b.last == nil || !now.Before(b.until) && !b.looping() {
		return Trouble{}, false
	}
	return Trouble{Reason: b.last.Reason, Failures: b.failures + b.faults, Until: b.until, Loop: b.looping()}, true
}

func (b *backoff) check(now time.Time) error {
	switch {
	case !now.Before(b.until):
		return nil
	case b.looping():
		return b.loop(now)
	}
	held := *b.last
	if held.RetryAt.Before(b.until) { // an environment may say later
		held.RetryAt = b.until
	}
	return &held
}

// loop is the failure of a program that fails again and again.
func (b *backoff) loop(now time.Time) *Exit {
	return &Exit{
		Reason: CrashLoop, API: b.last.API, Version: b.last.Version, At: now.UTC(), RetryAt: b.until, Output: b.last.Output,
		Detail: fmt.Sprintf("the program failed %d times in a row, the last time as %s, and is not started again before %s, unless "+
			"it is woken or deployed", b.failures, b.last.Error(), b.until.UTC().Format("15:04:05 MST")),
	}
}

// failed notes a failure. It returns an Exit that says so when that makes it a loop, else nil. What the host lacks makes none: the
// program has not even run.
func (b *backoff) failed(now time.Time, err error) *Exit {
	var exit *Exit
	if !errors.As(err, &exit) { // no room, a store that does not answer: not the program's doing
		return nil
	}
	b.last = exit
	if exit.Reason == SandboxFailed {
		b.faults++
		b.delay(now, b.faults, backoffFault)
		return nil
	}
	b.failures++
	b.faults = 0
	b.delay(now, b.failures, backoffMax)
	if !b.looping() {
		return nil
	}
	b.until = now.Add(loopPause)
	if b.failures > loopAfter { // it was said before
		return nil
	}
	return b.loop(now)
}

// delay holds off for a time that doubles with each failure.
func (b *backoff) delay(now time.Time, failures int, most time.Duration) {
	if extra := failures - backoffFreely; extra > 0 {
		b.until = now.Add(min(backoffFirst<<min(extra-1, 10), most))
	}
}

func (b *backoff) died(now, started time.Time, exit *Exit) *Exit {
	if now.Sub(started) > backoffShort {
		*b = backoff{}
		return nil
	}
	return b.failed(now, exit)
}

// Trouble says why an API is held off, in a split why the first version of it is that is; false when none is.
func (m *Manager) Trouble(api string) (Trouble, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.apis[api]
	if s == nil {
		return Trouble{}, false
	}
	for _, f := range s.fleets {
		if len(f.instances)+len(f.used) > 0 {
			continue
		}
		if trouble, held := f.backoff.trouble(time.Now()); held {
			return trouble, true
		}
	}
	return Trouble{}, false
}

// Forgive has the next request start an API that is held off.
func (m *Manager) Forgive(api string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.apis[api]; s != nil {
		for _, f := range s.fleets {
			f.backoff = backoff{}
		}
	}
}

// tellLocked says that a program is in a loop, as it says how one ended.
func (m *Manager) tellLocked(loop *Exit) {
	if loop != nil && !m.stopped {
		m.work.Go(func() { m.exited(*loop) })
	}
}
