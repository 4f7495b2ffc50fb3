package sandbox

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// witness remembers what was told.
type witness struct {
	mu  sync.Mutex
	all []Event
}

func (w *witness) note(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, e)
}

func (w *witness) texts() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, e := range w.all {
		all = append(all, e.API+" "+string(e.Kind)+": "+e.Text)
	}
	return strings.Join(all, "\n")
}

func TestStartsAndSleepAreTold(t *testing.T) {
	var w witness
	slowly := func(o order, s *fakeSandbox) {
		time.Sleep(2 * time.Second)
		s.serve(o, ok)
	}
	managed(t, slowly, func(t *testing.T, m *Manager, _ *fakeDriver) {
		acquire(t, m, "api_a").Release()
		if got := w.texts(); got != "api_a started: started in 2000 ms: 0 ms for room, 0 ms for the sandbox, "+
			"2000 ms to import the program and start it, 0 ms to its first answer" {
			t.Errorf("%s", got)
		}
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if got := w.texts(); !strings.HasSuffix(got, "api_a sleeping: falls asleep: nobody has called for 10m0s") {
			t.Errorf("%s", got)
		}
		acquire(t, m, "api_b").Release()
		m.Sleep("api_b")
		synctest.Wait()
		if got := w.texts(); !strings.HasSuffix(got, "api_b sleeping: put to sleep by hand: the next request starts it") {
			t.Errorf("%s", got)
		}
		acquire(t, m, "api_a").Release()
		before := len(w.all)
		if err := m.Remove(context.Background(), "api_a"); err != nil || len(w.all) != before {
			t.Errorf("%v, %s", err, w.texts())
		}
	}, idleAfter(10*time.Minute), func(c *ManagerConfig) { c.OnEvent = w.note })
}

func TestWhoMakesRoomIsTold(t *testing.T) {
	var w witness
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		acquire(t, m, "api_a").Release()
		acquire(t, m, "api_b").Release()
		synctest.Wait() // events are told by goroutines of their own
		if got := w.texts(); !strings.Contains(got, "api_a sleeping: put to sleep to make room for others") {
			t.Errorf("%s", got)
		}
	}, func(c *ManagerConfig) { c.OnEvent, c.MaxSandboxes = w.note, 1 })
}
