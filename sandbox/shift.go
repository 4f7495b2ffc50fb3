package sandbox

import (
	"context"
	"errors"
	"sync"
)

// Replace starts a new version beside what serves. When it has answered its probe, commit is called; when that succeeds too,
// all new requests go to the new version, and what served before drains. On any error nothing has changed: *Exit when the
// program does not start, ErrNoRoom, ErrStopped, what commit returned, or the context's.
func (m *Manager) Replace(ctx context.Context, spec Spec, commit func(context.Context) error) (*Instance, error) {
	fresh, err := m.shift(ctx, spec.API, []Share{{spec.Version, 1}}, []Spec{spec}, commit)
	if err != nil {
		return nil, err
	}
	return fresh[0], nil
}

// Shift spreads an API's requests over the shares. Versions of them of which nothing runs are started; when they have answered
// their probes, commit is called, and when that succeeds too, requests go by the new weights. Versions without a share drain.
// On any error, as those of Replace and what Source returned, nothing has changed.
func (m *Manager) Shift(ctx context.Context, api string, shares []Share, commit func(context.Context) error) error {
	var specs []Spec
	for _, version := range m.asleepAmong(api, shares) {
		spec, err := m.cfg.Source(ctx, api, version)
		if err != nil {
			return err
		}
		specs = append(specs, spec)
	}
	_, err := m.shift(ctx, api, shares, specs, commit)
	return err
}

// asleepAmong lists the versions of which nothing serves.
func (m *Manager) asleepAmong(api string, shares []Share) (versions []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.apis[api]
	for _, share := range shares {
		if s == nil || s.fleetLocked(share.Version) == nil || s.fleetLocked(share.Version).leastLoadedLocked() == nil {
			versions = append(versions, share.Version)
		}
	}
	return versions
}

// shift is Shift with the specs that are to be started, and returns the first instance of each.
func (m *Manager) shift(
	ctx context.Context, api string, shares []Share, specs []Spec, commit func(context.Context) error,
) ([]*Instance, error) {
	s, end, err := m.beginShift(ctx, api)
	if err != nil {
		return nil, err
	}
	defer end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.life, cancel)()

	fresh, err := m.bring(ctx, s, specs)
	if err == nil {
		err = commit(ctx)
	}
	if err != nil {
		m.abandon(fresh)
		if errors.Is(err, context.Canceled) && m.life.Err() != nil {
			err = ErrStopped
		}
		return nil, err
	}
	scale := m.scaleNow(context.WithoutCancel(ctx), s)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped || m.apis[api] != s {
		m.abandonLocked(fresh)
		return nil, ErrStopped
	}
	s.asleep = false
	m.applyLocked(s, Plan{shares, scale}, fresh...)
	return fresh, nil
}

// beginShift waits until nothing else moves the API's traffic.
func (m *Manager) beginShift(ctx context.Context, api string) (*slot, func(), error) {
	for {
		m.mu.Lock()
		if m.stopped {
			m.mu.Unlock()
			return nil, nil, ErrStopped
		}
		s := m.slotLocked(api)
		m.work.Add(1)
		m.mu.Unlock()
		select {
		case s.change <- struct{}{}:
		case <-ctx.Done():
			m.work.Done()
			return nil, nil, ctx.Err()
		case <-m.life.Done():
			m.work.Done()
			return nil, nil, ErrStopped
		}
		end := func() { <-s.change; m.work.Done() }
		m.mu.Lock()
		current := m.apis[api] == s
		m.mu.Unlock()
		if current {
			return s, end, nil
		}
		end() // it was deleted meanwhile
	}
}

// bring starts the first instance of each version and then, where one version takes over from several instances, as many as
// the requests that are in flight want. Those that do not start are done without.
func (m *Manager) bring(ctx context.Context, s *slot, specs []Spec) ([]*Instance, error) {
	var fresh []*Instance
	for _, spec := range specs {
		i, err := m.launch(ctx, spec, false)
		if err != nil {
			return fresh, err
		}
		fresh = append(fresh, i)
	}
	if len(specs) != 1 {
		return fresh, nil
	}
	var mu sync.Mutex
	var more sync.WaitGroup
	for range m.busyInstances(s) - 1 {
		more.Go(func() {
			if i, err := m.launch(ctx, specs[0], true); err == nil {
				mu.Lock()
				defer mu.Unlock()
				fresh = append(fresh, i)
			}
		})
	}
	more.Wait()
	return fresh, nil
}

// busyInstances is how many instances the requests in flight want, all versions together.
func (m *Manager) busyInstances(s *slot) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	inflight := 0
	for _, f := range s.fleets {
		inflight += f.inflightLocked()
	}
	if s.scale.Isolated {
		return 1
	}
	least, most := s.scale.bounds(1, 1)
	return s.scale.want(inflight, least, most)
}

// scaleNow is the API's scale after a commit, or as it was when that cannot be read.
func (m *Manager) scaleNow(ctx context.Context, s *slot) Scale {
	plan, err := m.cfg.Plan(ctx, s.api)
	if err == nil {
		return plan.Scale
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return s.scale
}

// abandonLocked is abandon in the background.
func (m *Manager) abandonLocked(fresh []*Instance) {
	m.work.Go(func() { m.abandon(fresh) })
}

// abandon ends instances that have never served.
func (m *Manager) abandon(fresh []*Instance) {
	for _, i := range fresh {
		i.kill(&Exit{Reason: Draining, Detail: "the deploy was given up"})
		m.mu.Lock()
		m.freeLocked()
		m.mu.Unlock()
	}
}
