package sandbox

import (
	"context"
	"slices"
	"time"
)

// ticket is a request's place in the line for a sandbox of its own.
type ticket struct {
	outcome
	lease *Lease // valid once done is closed; nil without an error: look again
}

// queueLocked puts a request in the line.
func (m *Manager) queueLocked(f *fleet, c *choice) error {
	if len(f.line) >= mostQueued {
		return ErrNoRoom
	}
	c.ticket = &ticket{outcome: *newOutcome()}
	f.line = append(f.line, c.ticket)
	m.serveLineLocked(f)
	m.keepLocked(f)
	return nil
}

// await returns the lease of the choice's ticket; nothing when the request should look again. A request that no start is under
// way for waits no longer than the room timeout.
func (m *Manager) await(ctx context.Context, c *choice) (*Lease, error) {
	t, f := c.ticket, c.fleet
	c.ticket = nil
	timer := time.NewTicker(m.cfg.RoomTimeout)
	defer timer.Stop()
	for {
		select {
		case <-t.done:
			return t.lease, t.err
		case <-timer.C:
			if m.withdraw(f, t, true) {
				return nil, ErrNoRoom
			}
		case <-ctx.Done():
			if !m.withdraw(f, t, false) {
				<-t.done
				if t.lease != nil {
					t.lease.Release()
				}
			}
			return nil, ctx.Err()
		}
	}
}

// withdraw takes a ticket out of the line and reports whether it was in. One that is late stays when a start is under way for
// it.
func (m *Manager) withdraw(f *fleet, t *ticket, late bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := slices.Index(f.line, t)
	if at < 0 || late && at < f.starts {
		return false
	}
	f.line = slices.Delete(f.line, at, at+1)
	return true
}

// serveLineLocked gives ready instances to those in the line and starts what is missing, within the bounds.
func (m *Manager) serveLineLocked(f *fleet) {
	for len(f.line) > 0 {
		i := f.leastLoadedLocked()
		if i == nil {
			break
		}
		f.dropLocked(i)
		f.used = append(f.used, i)
		t := f.line[0]
		f.line = f.line[1:]
		t.lease = i.lease(m, f)
		t.settle(nil)
	}
	if m.stopped || f.retired {
		f.dismissLocked(nil)
		return
	}
	_, most := f.boundsLocked()
	for f.starts < len(f.line) && f.countLocked() < most {
		if err := f.backoff.check(time.Now()); err != nil {
			if f.starts == 0 {
				f.dismissLocked(err)
			}
			return
		}
		m.startLocked(f, false)
	}
}

// dismissLocked sends everybody in the line away: with an error, or to look again.
func (f *fleet) dismissLocked(err error) {
	for len(f.line) > 0 {
		f.refuseFirstLocked(err)
	}
}

func (f *fleet) refuseFirstLocked(err error) {
	t := f.line[0]
	f.line = f.line[1:]
	t.settle(err)
}

// countLocked is how many instances the fleet has in all, those that start and those that end included.
func (f *fleet) countLocked() int { return f.starts + len(f.instances) + len(f.used) + f.leaving }

// finished ends an instance after its one request.
func (m *Manager) finished(f *fleet, i *Instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drainLocked(f, i)
}

// isolateLocked switches a fleet over. What others have used is used by nobody who was promised a fresh sandbox.
func (m *Manager) isolateLocked(f *fleet, isolated bool) {
	if !isolated {
		f.dismissLocked(nil)
		return
	}
	for _, i := range slices.Clone(f.instances) {
		if i.lent.Load() {
			m.drainLocked(f, i)
		}
	}
	f.settleLocked(nil)
}
