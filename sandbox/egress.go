package sandbox

import (
	"cmp"
	"context"
	"slices"
	"time"

	"apibuilder/egress"
)

// admit takes the policy off a program where nothing outside is reached. Where something is, what was set since the policy was read takes
// its place, so that it decides too whether there is a network. One that nobody has dated counts from now on.
func (l *launcher) admit(spec Spec) Spec {
	if l.gate == nil {
		spec.Egress = egress.Policy{}
		return spec
	}
	if spec.EgressTurn == 0 {
		spec.EgressTurn = l.gate.Turn()
	}
	if p, newer := l.gate.Since(spec.API, spec.EgressTurn); newer {
		spec.Egress = p
	}
	return spec
}

// equip gives an instance what its place says of a network, before it has one.
func (l *launcher) equip(i *Instance, p place) {
	if !p.network {
		return
	}
	i.guard = l.gate.Guard()
	i.tell = func(text string) {
		l.printed(i, Line{Time: time.Now().UTC(), Stream: "egress", Level: LevelWarning, Event: "egress", Text: text})
	}
}

func (i *Instance) disconnect() {
	if i.guard != nil {
		i.guard.Close()
	}
}

// EgressTurn is a moment for Spec.EgressTurn, to be taken before a policy is read; 0 where nothing outside is reached.
func (m *Manager) EgressTurn() uint64 {
	if m.cfg.Egress == nil {
		return 0
	}
	return m.cfg.Egress.Turn()
}

// source reads what to run for a version, and remembers that a policy which was set meanwhile is newer. A source that remembers what it
// read before knows better when that was.
func (m *Manager) source(ctx context.Context, api string, version int) (Spec, error) {
	turn := m.EgressTurn()
	spec, err := m.cfg.Source(ctx, api, version)
	spec.EgressTurn = cmp.Or(spec.EgressTurn, turn)
	return spec, err
}

// SetEgress gives what runs of an API another policy at once: connections that it does not allow are ended, and an instance
// without a network that needs one now is replaced before the next request, once its requests are answered.
func (m *Manager) SetEgress(api string, p egress.Policy) {
	if m.cfg.Egress == nil {
		return
	}
	m.cfg.Egress.Set(api, p)
	if p.None() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.apis[api]; s != nil && !m.stopped {
		for _, f := range s.fleets {
			m.connectLocked(f)
		}
	}
}

// connectLocked takes out of service what of a fleet has no network though its API may reach something. What is being started is looked
// at when it comes into service, see connectNewLocked.
func (m *Manager) connectLocked(f *fleet) {
	for _, i := range slices.Clone(f.instances) {
		if i.guard == nil {
			m.drainLocked(f, i)
		}
	}
}

// connectNewLocked takes an instance out of service that comes into it without a network, because the policy that wants one was set while
// it was started.
func (m *Manager) connectNewLocked(f *fleet, i *Instance) {
	if i.guard != nil || m.cfg.Egress == nil {
		return
	}
	if p, newer := m.cfg.Egress.Since(f.slot.api, i.spec.EgressTurn); newer && !p.None() {
		m.drainLocked(f, i)
	}
}

// Egress tells what an API's sandboxes reached since the server started.
func (m *Manager) Egress(api string) egress.Report {
	if m.cfg.Egress == nil {
		return egress.Report{}
	}
	return m.cfg.Egress.Report(api)
}

// EgressUses returns what sandboxes reached and were refused since it was called last, see egress.Gate.Take.
func (m *Manager) EgressUses() []egress.Use {
	if m.cfg.Egress == nil {
		return nil
	}
	return m.cfg.Egress.Take()
}

// EgressAPIs lists the APIs whose policy the manager knows.
func (m *Manager) EgressAPIs() []string {
	if m.cfg.Egress == nil {
		return nil
	}
	return m.cfg.Egress.APIs()
}

// EgressRunning lists the APIs of which something runs, starts or ends, with a network or without: those to which it matters now what they may
// reach.
func (m *Manager) EgressRunning() []string {
	if m.cfg.Egress == nil {
		return nil
	}
	running := m.cfg.Egress.Bound() // one-off code and deploys too
	m.mu.Lock()
	defer m.mu.Unlock()
	for api, s := range m.apis {
		if s.livesLocked() || s.making > 0 {
			running = append(running, api)
		}
	}
	slices.Sort(running)
	return slices.Compact(running)
}

func (m *Manager) forgetEgress(api string) {
	if m.cfg.Egress != nil {
		m.cfg.Egress.Forget(api)
	}
}
