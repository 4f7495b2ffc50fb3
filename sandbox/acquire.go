package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// choice is what one request has settled on.
type choice struct {
	fleet   *fleet   // whose version it goes to
	refused []*fleet // whose version does not start
	err     error    // why the first of them does not
	waits   *fleet   // it is one of its waiters
	ticket  *ticket  // of an isolated API
}

// Acquire returns a lease on a running instance of the API, starting one where none runs. In a split the version is chosen
// by weight, and one that does not start leaves its share to the others. It waits no longer than ctx. Errors: *Exit when
// the program does not start (at once while it is held off after repeated failures), ErrNoRoom, ErrStopped, what Plan
// or Source returned, or the context's.
func (m *Manager) Acquire(ctx context.Context, api string) (*Lease, error) {
	began := time.Now()
	var c choice
	lease, err := m.acquire(ctx, api, &c)
	if c.waits != nil {
		m.mu.Lock()
		c.leaveLocked()
		m.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	if wait := time.Since(began); wait > time.Millisecond {
		lease.startWait = wait
	}
	return lease, nil
}

func (m *Manager) acquire(ctx context.Context, api string, c *choice) (*Lease, error) {
	for {
		lease, wait, err := m.tryAcquire(api, c)
		if lease != nil || err != nil {
			return lease, err
		}
		if c.ticket != nil {
			lease, err := m.await(ctx, c)
			if lease != nil || err != nil && !c.refuse(err) {
				return lease, err
			}
			continue
		}
		select {
		case <-wait.done:
			if wait.err != nil && !c.refuse(wait.err) {
				return nil, wait.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryAcquire returns a lease, or what to wait for: an outcome, or the choice's ticket.
func (m *Manager) tryAcquire(api string, c *choice) (*Lease, *outcome, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.leaveLocked()
	if m.stopped {
		return nil, nil, ErrStopped
	}
	s := m.slotLocked(api)
	if !s.knownLocked(time.Now()) {
		return nil, m.readLocked(s), nil
	}
	for {
		f, err := m.chooseLocked(s, c)
		if err != nil {
			return nil, nil, err
		}
		s.asleep = false
		if s.scale.Isolated {
			return nil, nil, m.queueLocked(f, c)
		}
		if i := f.leastLoadedLocked(); i != nil {
			lease := i.lease(m, nil)
			m.growLocked(f)
			return lease, nil, nil
		}
		err = m.beginLocked(f)
		if err == nil {
			c.waits = f
			f.waiters++
			return nil, f.waitLocked(), nil
		}
		if !c.refuse(err) {
			return nil, nil, err
		}
	}
}

// chooseLocked settles on a fleet, by weight, and keeps to it while it serves. Its error is why there is none.
func (m *Manager) chooseLocked(s *slot, c *choice) (*fleet, error) {
	if c.fleet != nil && !c.fleet.retired && !slices.Contains(c.refused, c.fleet) {
		return c.fleet, nil
	}
	all := 0
	for _, f := range s.fleets {
		if !slices.Contains(c.refused, f) {
			all += f.weight
		}
	}
	if all == 0 {
		if c.err != nil {
			return nil, c.err
		}
		return nil, fmt.Errorf("%w: nothing of %s serves", ErrUnknownAPI, s.api)
	}
	n := 0
	if all > 0 && len(s.fleets) > 1 {
		n = m.pick(all)
	}
	for _, f := range s.fleets {
		if slices.Contains(c.refused, f) {
			continue
		}
		if n -= f.weight; n < 0 {
			c.fleet = f
			break
		}
	}
	return c.fleet, nil
}

// refuse has the request look for another version when its own does not start, and reports whether it may.
func (c *choice) refuse(err error) bool {
	if _, ok := errors.AsType[*Exit](err); !ok || c.fleet == nil {
		return false
	}
	c.refused = append(c.refused, c.fleet)
	if c.err == nil {
		c.err = err
	}
	return true
}

func (c *choice) leaveLocked() {
	if c.waits != nil {
		c.waits.waiters--
		c.waits = nil
	}
}

// beginLocked sees to it that a start of the fleet is under way.
func (m *Manager) beginLocked(f *fleet) error {
	if f.starts > f.optional {
		return nil
	}
	if err := f.backoff.check(time.Now()); err != nil {
		return err
	}
	m.startLocked(f, false)
	m.keepLocked(f)
	return nil
}

// startLocked makes one more instance in the background. One that is optional takes only room that is free.
func (m *Manager) startLocked(f *fleet, optional bool) {
	f.starts++
	if optional {
		f.optional++
	}
	f.slot.beginMakingLocked()
	m.work.Go(func() {
		i, err := m.make(f, optional)
		m.mu.Lock()
		defer m.mu.Unlock()
		defer m.endMakingLocked(f.slot)
		f.starts--
		if optional {
			f.optional--
		}
		if optional && errors.Is(err, ErrNoRoom) { // nobody who waits has asked for it
			m.serveLineLocked(f)
			return
		}
		m.startedLocked(f, i, err)
	})
}

// make returns an instance that serves, for which a place is taken.
func (m *Manager) make(f *fleet, optional bool) (*Instance, error) {
	spec, err := m.source(f.life, f.slot.api, f.version)
	if err != nil {
		return nil, err
	}
	return m.launch(f.life, spec, optional)
}

// launch takes a place and starts an instance there.
func (m *Manager) launch(ctx context.Context, spec Spec, optional bool) (*Instance, error) {
	asked := time.Now()
	if err := m.reserve(ctx, optional); err != nil {
		return nil, err
	}
	seen := sync.OnceFunc(m.memorySeen)
	defer seen()
	i, err := m.launcher.launch(ctx, spec, func() { time.AfterFunc(memorySettles, seen) })
	if err == nil {
		i.startup.Asked = asked
		if spec.task == nil {
			m.noteStart(i)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.freeLocked()
		return nil, err
	}
	return i, nil
}

// startedLocked puts what a start made into service, and tells those who wait.
func (m *Manager) startedLocked(f *fleet, i *Instance, err error) {
	switch {
	case err == nil && (f.retired || f.slot.asleep && f.waiters+len(f.line) == 0): // put to sleep meanwhile
		f.instances = append(f.instances, i)
		m.drainLocked(f, i)
	case err == nil:
		m.serveLocked(f, i)
	case m.stopped:
		err = ErrStopped
	case f.retired: // it was given up for that
		err = nil
	default:
		m.tellLocked(f.backoff.failed(time.Now(), err))
	}
	f.settleLocked(err)
	if err != nil && f.starts == 0 && len(f.line) > 0 {
		f.refuseFirstLocked(err)
	}
	m.serveLineLocked(f)
}

// serveLocked puts an instance into service until it ends or is taken out.
func (m *Manager) serveLocked(f *fleet, i *Instance) {
	f.instances = append(f.instances, i)
	m.keepHealthyLocked(f, i)
	m.work.Go(func() { m.watch(f, i) })
	m.connectNewLocked(f, i)
}

// watch notices that an instance ends by itself.
func (m *Manager) watch(f *fleet, i *Instance) {
	<-i.done
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case f.dropLocked(i):
		m.tellLocked(f.backoff.died(time.Now(), i.started, i.exit))
	case f.dropUsedLocked(i): // by its one request: no reason to hold off the next
	default: // it was taken out, and is counted by whoever drains it
		return
	}
	m.freeLocked()
	m.keepLocked(f)
	m.serveLineLocked(f)
}

// ended reports whether the instance is known to have ended.
func (i *Instance) ended() bool {
	select {
	case <-i.done:
		return true
	default:
		return false
	}
}
