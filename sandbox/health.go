package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// Health is how a program is asked whether it is well. The zero value never asks.
type Health struct {
	Path     string        // asked with GET; 2xx and 3xx mean well
	Interval time.Duration // between questions; default 10 s
	Timeout  time.Duration // for an answer; default 5 s
	Failures int           // so many in a row mean unhealthy; default 3
}

const healthRetry = 100 * time.Millisecond // while a program starts

func (h Health) withDefaults() Health {
	if h.Interval <= 0 {
		h.Interval = 10 * time.Second
	}
	if h.Timeout <= 0 {
		h.Timeout = 5 * time.Second
	}
	if h.Failures <= 0 {
		h.Failures = 3
	}
	return h
}

// askHealth returns nil when the program says that it is well.
func (i *Instance) askHealth(ctx context.Context, h Health) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sandbox"+h.Path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "apibuilder-health")
	resp, err := i.transport.RoundTrip(req)
	if ctx.Err() != nil {
		return fmt.Errorf("it did not answer within %v", h.Timeout)
	}
	if err != nil {
		return errors.New("it did not answer with HTTP")
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return fmt.Errorf("it answered with status %d", resp.StatusCode)
	}
	return nil
}

// awaitHealth returns when a program that has just started is well; ctx's end comes with the start's.
func (i *Instance) awaitHealth(ctx context.Context) error {
	h := i.spec.Health.withDefaults()
	if h.Path == "" {
		return nil
	}
	for {
		err := i.askHealth(ctx, h)
		if err == nil {
			return nil
		}
		select {
		case <-i.done:
			return err
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return ctx.Err()
			}
			return &Exit{Reason: Unhealthy, Detail: fmt.Sprintf("health path %s until the end of the time to start: %v", h.Path, err)}
		case <-time.After(healthRetry):
		}
	}
}

// watchHealth asks a program that serves until it ends, is unhealthy, or ctx ends. It returns why it is unhealthy, or nil.
func (i *Instance) watchHealth(ctx context.Context, h Health) *Exit {
	tick := time.NewTicker(h.Interval)
	defer tick.Stop()
	for failures := 0; ; {
		select {
		case <-i.done:
			return nil
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := i.askHealth(ctx, h)
		switch {
		case err == nil:
			failures = 0
			continue
		case ctx.Err() != nil:
			return nil
		}
		if failures++; failures >= h.Failures {
			return &Exit{Reason: Unhealthy, Detail: fmt.Sprintf("health path %s failed %d times in a row: %v", h.Path, failures, err)}
		}
	}
}

// keepHealthyLocked has an instance that has begun to serve asked for its health, and replaced when it is not well: its
// successor starts beside it and takes the requests before it ends, where it can start.
func (m *Manager) keepHealthyLocked(f *fleet, i *Instance) {
	h := i.spec.Health.withDefaults()
	if h.Path == "" || m.stopped {
		return
	}
	m.work.Go(func() {
		why := i.watchHealth(m.life, h)
		if why == nil || !m.beginSuccession(f, i) {
			return
		}
		defer m.endSuccession(f)
		i.endWith(why)
		if err := m.succeed(f, i); err != nil && m.serves(f, i) { // one that was taken out finishes its requests
			i.kill(why)
		}
	})
}

// succeed starts another instance of the same version in the place of one that serves, unless that is taken out meanwhile.
func (m *Manager) succeed(f *fleet, i *Instance) error {
	next, err := m.make(f, false)
	if err != nil {
		return err
	}
	m.mu.Lock()
	if !slices.Contains(f.instances, i) { // put to sleep, say; one that has ended is followed by the next request's
		m.mu.Unlock()
		m.abandon([]*Instance{next})
		return nil
	}
	defer m.mu.Unlock()
	m.serveLocked(f, next)
	m.drainLocked(f, i)
	f.settleLocked(nil)
	m.serveLineLocked(f)
	return nil
}

// beginSuccession reports whether an instance that is not well serves, and notes that a start is under way if so.
func (m *Manager) beginSuccession(f *fleet, i *Instance) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Contains(f.instances, i) {
		return false
	}
	f.slot.beginMakingLocked()
	return true
}

func (m *Manager) endSuccession(f *fleet) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endMakingLocked(f.slot)
}

// serves reports whether an instance gets requests.
func (m *Manager) serves(f *fleet, i *Instance) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(f.instances, i)
}
