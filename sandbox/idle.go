package sandbox

import (
	"context"
	"time"
)

// Sleep ends the API's sandbox once its requests are answered; the next request starts it again. It reports whether there was
// one, and returns at once.
func (m *Manager) Sleep(api string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.apis[api]
	if s == nil || s.current == nil || m.stopped {
		return false
	}
	m.retireLocked(m.life, s)
	return true
}

// Running reports whether the API has a sandbox that serves.
func (m *Manager) Running(api string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.apis[api]
	return s != nil && s.current != nil
}

// Warm is how many sandboxes wait for a program.
func (m *Manager) Warm() int {
	if m.launcher.pool == nil {
		return 0
	}
	return m.launcher.pool.count()
}

// sleepIdle puts APIs to sleep that nobody has called for the idle timeout, until ctx ends.
func (m *Manager) sleepIdle(ctx context.Context) {
	tick := time.NewTicker(max(m.cfg.IdleTimeout/20, 100*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			m.retireIdle(now)
		}
	}
}

func (m *Manager) retireIdle(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.apis {
		if i := s.current; i != nil && i.idleSince(now) >= m.cfg.IdleTimeout {
			m.retireLocked(m.life, s)
		}
	}
}

// idleSince is how long no request has been under way; negative when one is.
func (i *Instance) idleSince(now time.Time) time.Duration {
	if i.inflight.Load() > 0 {
		return -1
	}
	return now.Sub(time.Unix(0, i.lastUsed.Load()))
}
