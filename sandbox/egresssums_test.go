package sandbox

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"apibuilder/egress"
)

// TestSumsAreTold has it in the log each hour what an instance was refused, and at its end, before that is told; not where it is nothing.
func TestSumsAreTold(t *testing.T) {
	said := &told{}
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		l := acquire(t, m, "api_a")
		defer l.Release()
		refuse := func(name string) { l.Instance.guard.Refuse(&egress.Refusal{Reason: egress.NotListed, What: name}) }
		began := time.Now()
		refuse("a.example")
		time.Sleep(time.Hour + time.Minute)
		said.are(t, "egress a.example warning", "egress_sums egress: refused a.example (1 time) info")
		time.Sleep(10 * time.Hour)
		said.are(t)
		refuse("a.example")
		refuse("b.example")
		if end := l.Instance.Stop(t.Context(), time.Second); end.At.Sub(began) != 11*time.Hour+time.Minute {
			t.Errorf("it ended after %v", end.At.Sub(began))
		}
		said.are(t, "egress a.example warning", "egress b.example warning", "egress_sums egress: refused a.example (1 time), b.example (1 time) info", "ended")

		quiet := acquire(t, m, "api_b")
		defer quiet.Release()
		quiet.Instance.Stop(t.Context(), time.Second)
		said.are(t, "ended")
	}, said.listen)
}

// TestSumsOfATask has what a task was refused told to its caller as it is, and summed up in the API's log.
func TestSumsOfATask(t *testing.T) {
	said, printed := &told{}, &told{}
	program := func(_ order, s *fakeSandbox) {
		s.say(event{Event: "started"})
		s.network.Refuse(&egress.Refusal{Reason: egress.NotListed, What: "a.example"})
		s.end(Status{})
	}
	managed(t, program, func(t *testing.T, m *Manager, _ *fakeDriver) {
		spec, err := m.cfg.Source(t.Context(), "api_a", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Run(t.Context(), spec, Task{Time: time.Minute, Output: printed.line}); err != nil {
			t.Fatal(err)
		}
		printed.are(t, "egress a.example warning")
		said.are(t, "egress_sums egress of one-off code: refused a.example (1 time) info")
	}, said.listen)
}

// told keeps what is said of egress, and of ends.
type told struct {
	mu  sync.Mutex
	all []string
}

func (s *told) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, text)
}

func (s *told) line(l Line) {
	var name string
	if _, err := fmt.Sscanf(l.Text, "egress refused: %s", &name); err == nil {
		l.Text = name
	}
	if l.Stream == "egress" {
		s.add(l.Event + " " + l.Text + " " + l.Level)
	}
}

// listen has a manager's sandboxes allowed something, and what it says kept.
func (s *told) listen(c *ManagerConfig) {
	internet := egress.Policy{Internet: true}
	c.Egress = egress.NewGate(egress.Config{Ceiling: &egress.Ceiling{Most: internet}})
	c.Source = func(_ context.Context, api string, version int) (Spec, error) {
		return Spec{API: api, Version: version, Egress: internet}, nil
	}
	c.OnOutput = func(_ string, _ int, l Line) { s.line(l) }
	c.OnExit = func(Exit) { s.add("ended") }
}

// are compares what was said since they were called last.
func (s *told) are(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.all, want) {
		t.Errorf("it says %q, not %q", s.all, want)
	}
	s.all = nil
}
