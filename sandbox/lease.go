package sandbox

import (
	"context"
	"net/http"
	"time"
)

// probeTimeout is how long a program that let a request time out has to answer a probe.
const probeTimeout = 2 * time.Second

// Lease holds one running sandbox for one request. Release must be called once, when the request is over.
type Lease struct {
	*Instance
	manager   *Manager
	alone     *fleet // the instance ends after this request, and is of this fleet
	startWait time.Duration
}

func (i *Instance) lease(m *Manager, alone *fleet) *Lease {
	i.lent.Store(true)
	i.inflight.Add(1)
	i.used(time.Now())
	return &Lease{Instance: i, manager: m, alone: alone}
}

// RoundTrip sends a request to the program (http.RoundTripper).
func (l *Lease) RoundTrip(r *http.Request) (*http.Response, error) { return l.transport.RoundTrip(r) }

// StartWait is how long Acquire waited for a sandbox to start; 0 when one was running.
func (l *Lease) StartWait() time.Duration { return l.startWait }

// Exit waits until the sandbox has ended and says how; nil when ctx ends first.
func (l *Lease) Exit(ctx context.Context) *Exit {
	select {
	case <-l.done:
		return l.Instance.Exit()
	case <-ctx.Done():
		return nil
	}
}

// Suspect has the program probed in the background after a request that it did not answer in time, and ended as
// RequestTimeout when it does not answer the probe either. The next request starts it anew.
func (l *Lease) Suspect() {
	i := l.Instance
	if !i.suspect.CompareAndSwap(false, true) {
		return
	}
	m := l.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return
	}
	m.work.Go(func() {
		defer i.suspect.Store(false)
		ctx, cancel := context.WithTimeout(m.life, probeTimeout)
		defer cancel()
		if err := i.Probe(ctx); err != nil && m.life.Err() == nil {
			i.kill(&Exit{Reason: RequestTimeout, Detail: "the program answered neither a request nor a probe in time"})
		}
	})
}

// Release gives the sandbox back.
func (l *Lease) Release() {
	l.used(time.Now())
	if l.inflight.Add(-1) > 0 {
		return
	}
	select {
	case l.idleC <- struct{}{}:
	default:
	}
	if l.alone != nil {
		l.manager.finished(l.alone, l.Instance)
		return
	}
	l.manager.released()
}
