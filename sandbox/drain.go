package sandbox

import (
	"cmp"
	"context"
	"time"
)

// stopGrace is what a program is given for its shutdown code.
const stopGrace = 5 * time.Second

// drainLocked takes an instance out of service and ends it when its last request is answered, at the API's drain timeout, or when the
// manager's patience ends.
func (m *Manager) drainLocked(f *fleet, i *Instance) {
	m.drainForLocked(f, i, false)
}

// drainForLocked is drainLocked. given says that it makes room for another.
func (m *Manager) drainForLocked(f *fleet, i *Instance, given bool) {
	if !f.dropLocked(i) && !f.dropUsedLocked(i) {
		return // it has ended by itself meanwhile
	}
	f.leaving++
	f.slot.leaving[i] = &leave{f, given}
	if given {
		m.room.giving++
	}
	timeout := cmp.Or(f.slot.scale.Drain, m.cfg.DrainTimeout)
	m.work.Go(func() {
		i.drain(m.patience, timeout)
		i.Stop(context.WithoutCancel(m.patience), stopGrace)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.goneLocked(i, f.slot.leaving[i])
	})
}

func (m *Manager) goneLocked(i *Instance, l *leave) {
	delete(l.fleet.slot.leaving, i)
	l.fleet.leaving--
	if l.given {
		m.room.giving--
	}
	m.freeLocked()
	m.dropGoneLocked(l.fleet.slot)
	m.keepLocked(l.fleet)
	m.serveLineLocked(l.fleet)
}

// drain waits for the end of the requests in flight.
func (i *Instance) drain(ctx context.Context, timeout time.Duration) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for i.inflight.Load() > 0 {
		select {
		case <-i.idleC:
		case <-i.done:
			return
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
