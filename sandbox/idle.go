package sandbox

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// tendEvery is how often the manager looks at what runs; more often with an idle timeout of a few seconds.
const tendEvery = time.Second

// Sleep ends the API's instances once their requests are answered; the next request starts one again. It reports whether there
// was one, and returns at once.
func (m *Manager) Sleep(api string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.apis[api]
	if s == nil || m.stopped {
		return false
	}
	slept := false
	s.asleep = true
	for _, f := range s.fleets {
		if m.clearLocked(f) {
			slept = true
			m.noteLocked(api, f.version, EventSleeping, "put to sleep by hand: the next request starts it")
		}
	}
	return slept
}

// Wake starts an API, every version of it that gets requests, and returns when each has an instance. Errors are those of
// Acquire.
func (m *Manager) Wake(ctx context.Context, api string) error {
	for {
		wait, err := m.tryWake(api)
		if wait == nil {
			return err
		}
		select {
		case <-wait.done:
			if wait.err != nil {
				return wait.err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryWake returns what to wait for, nil when the API runs or cannot be started.
func (m *Manager) tryWake(api string) (wait *outcome, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil, ErrStopped
	}
	s := m.slotLocked(api)
	if !s.knownLocked(time.Now()) {
		return m.readLocked(s), nil
	}
	s.asleep = false
	for _, f := range s.fleets {
		if f.leastLoadedLocked() != nil || len(f.used) > 0 {
			m.keepLocked(f)
			continue
		}
		if err := m.beginLocked(f); err != nil {
			return nil, err
		}
		wait = f.waitLocked()
	}
	return wait, nil
}

// Running reports whether the API has an instance that serves.
func (m *Manager) Running(api string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.apis[api]
	if s == nil {
		return false
	}
	for _, f := range s.fleets {
		if len(f.instances)+len(f.used) > 0 {
			return true
		}
	}
	return false
}

// Warm is how many sandboxes wait for a program.
func (m *Manager) Warm() int {
	if m.launcher.pool == nil {
		return 0
	}
	return m.launcher.pool.count()
}

// tend ends what is idle or not needed any more and starts what should always run, until ctx ends.
func (m *Manager) tend(ctx context.Context) {
	every := tendEvery
	if m.cfg.IdleTimeout > 0 {
		every = min(every, max(m.cfg.IdleTimeout/20, 100*time.Millisecond))
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			m.look(now)
		}
	}
}

func (m *Manager) look(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.relieveLocked()
	if m.leaving {
		m.endIdleLocked()
	}
	for _, s := range m.apis {
		for _, f := range s.fleets {
			m.retireIdleLocked(f, now)
			m.shrinkLocked(f, now)
			m.keepLocked(f)
		}
	}
}

// Leave says that another process serves, and wants the room: what is idle ends as soon as it is, warm sandboxes too, and nothing is kept
// running. A request that comes all the same is answered as before.
func (m *Manager) Leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaving = true
	m.endIdleLocked()
	if m.launcher.pool != nil {
		m.launcher.pool.close()
	}
}

func (m *Manager) endIdleLocked() {
	for _, s := range m.apis {
		for _, f := range s.fleets {
			if f.waiters > 0 {
				continue
			}
			for _, i := range slices.Clone(f.instances) {
				if i.inflight.Load() == 0 {
					m.drainLocked(f, i)
				}
			}
		}
	}
}

// retireIdleLocked ends instances that nobody has called for the idle timeout, but for those that always run.
func (m *Manager) retireIdleLocked(f *fleet, now time.Time) {
	if m.cfg.IdleTimeout <= 0 || f.waiters > 0 {
		return
	}
	least, _ := f.boundsLocked()
	for at := len(f.instances) - 1; at >= 0 && len(f.instances) > least; at-- {
		if i := f.instances[at]; i.idleSince(now) >= m.cfg.IdleTimeout {
			m.noteLocked(f.slot.api, f.version, EventSleeping, fmt.Sprintf("falls asleep: nobody has called for %v", m.cfg.IdleTimeout))
			m.drainLocked(f, i)
		}
	}
}

// idleSince is how long no request has been under way; negative when one is.
func (i *Instance) idleSince(now time.Time) time.Duration {
	if i.inflight.Load() > 0 {
		return -1
	}
	return now.Sub(clockStart) - time.Duration(i.lastUsed.Load())
}

// clockStart is what moments of use are counted from: the monotonic clock, so that one that is set puts nothing to sleep.
var clockStart = time.Now()

// used notes that a request began or ended now.
func (i *Instance) used(now time.Time) { i.lastUsed.Store(int64(now.Sub(clockStart))) }
