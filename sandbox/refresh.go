package sandbox

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// mostReads is how many plans are read again at a time.
const mostReads = 4

// planWait is how long a start waits for the plan of an API that was known before: the store may be away without saying so.
const planWait = 500 * time.Millisecond

// readLocked returns the outcome of a reading of the slot's plan. What comes too late for those who wait is followed.
func (m *Manager) readLocked(s *slot) *outcome {
	if s.reading == nil {
		o := newOutcome()
		s.reading = o
		before := s.planned
		impatient := time.AfterFunc(planWait, func() { m.rely(s, o) })
		m.work.Go(func() {
			plan, err := m.cfg.Plan(m.life, s.api)
			m.mu.Lock()
			defer m.mu.Unlock()
			impatient.Stop()
			if s.reading != o {
				if err == nil && m.apis[s.api] == s && !m.stopped {
					m.followLocked(s)
				}
				return
			}
			s.reading = nil
			// What was set or started meanwhile is newer.
			if err == nil && m.apis[s.api] == s && s.planned.Equal(before) && !s.livesLocked() && !m.stopped {
				m.applyLocked(s, plan)
			}
			o.settle(err)
		})
	}
	return s.reading
}

// rely ends the waiting for a plan with the one that was known before, unless the manager was told that it changed since.
func (m *Manager) rely(s *slot, reading *outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.reading != reading || m.apis[s.api] != s || len(s.fleets) == 0 || s.planned.IsZero() || s.stale || m.stopped {
		return
	}
	s.reading, s.planned = nil, time.Now()
	reading.settle(nil)
}

// Changed says that the plan of an API may have changed; an empty name says so of every API. It returns at once. What runs
// follows in the background: a version that is new to this manager is started before it gets requests, and what has no
// share any more drains. An API that always has an instance is started.
func (m *Manager) Changed(api string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return
	}
	if api != "" {
		m.followLocked(m.slotLocked(api))
		return
	}
	for _, s := range m.apis {
		if s.livesLocked() {
			m.followLocked(s)
		}
	}
}

func (m *Manager) followLocked(s *slot) {
	s.stale = true
	if s.follows {
		return
	}
	s.follows = true
	m.work.Go(func() {
		select {
		case s.change <- struct{}{}:
		case <-m.life.Done():
			return
		}
		defer func() { <-s.change }()
		for m.takeStale(s) {
			m.follow(m.life, s)
		}
	})
}

// takeStale reports whether there is something to look at.
func (m *Manager) takeStale(s *slot) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	stale := s.stale && !m.stopped && m.apis[s.api] == s
	s.stale, s.follows = false, stale
	return stale
}

// follow brings what runs of an API to its plan of now.
func (m *Manager) follow(ctx context.Context, s *slot) {
	m.reads <- struct{}{}
	plan, err := m.cfg.Plan(ctx, s.api)
	<-m.reads
	switch {
	case errors.Is(err, ErrUnknownAPI):
		m.forget(s)
		return
	case err != nil || m.leaveAsleep(s, plan):
		return // it is told again, or read at the next start
	}
	var fresh []*Instance
	for _, version := range m.missing(s, plan) {
		spec, err := m.source(ctx, s.api, version)
		var i *Instance
		if err == nil {
			i, err = m.launch(ctx, spec, false)
		}
		if err != nil {
			m.cfg.Log.Warn("traffic stays as it was, because a version that should get requests does not start",
				zap.String("api", s.api), zap.Int("version", version), zap.Error(err))
			plan.Shares = nil
			break
		}
		fresh = append(fresh, i)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped || m.apis[s.api] != s:
		m.abandonLocked(fresh)
		return
	case plan.Shares == nil:
		m.abandonLocked(fresh)
		fresh, plan.Shares = nil, s.sharesLocked()
	}
	if len(plan.Shares) == 0 {
		return
	}
	m.applyLocked(s, plan, fresh...)
}

// leaveAsleep reports whether there is nothing to do about a plan: the API sleeps and may. Its plan is read at its next start.
func (m *Manager) leaveAsleep(s *slot, plan Plan) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.livesLocked() || plan.Scale.Min > 0 && !s.asleep {
		return false
	}
	s.planned = time.Time{}
	if len(s.fleets) == 0 && len(s.leaving) == 0 && m.apis[s.api] == s {
		delete(m.apis, s.api) // nobody has called it, and thousands may be changed
	}
	return true
}

// missing lists the versions of a plan that are to be started before they get requests: of an API that sleeps none.
func (m *Manager) missing(s *slot, plan Plan) (versions []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !s.livesLocked() {
		return nil
	}
	for _, share := range plan.Shares {
		if s.fleetLocked(share.Version) == nil {
			versions = append(versions, share.Version)
		}
	}
	return versions
}

// forget ends what runs of an API that is gone.
func (m *Manager) forget(s *slot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.launcher.learned.forget(s.api)
	m.forgetEgress(s.api)
	m.endTasksLocked(s.api)
	fleets := s.fleets
	s.fleets, s.gone = nil, true
	for _, f := range fleets {
		m.retireLocked(f)
	}
	m.dropGoneLocked(s)
}

// dropGoneLocked forgets the slot of an API that is gone once nothing of it is left.
func (m *Manager) dropGoneLocked(s *slot) {
	if s.gone && len(s.leaving)+s.making == 0 && m.apis[s.api] == s {
		delete(m.apis, s.api)
	}
}
