package sandbox

import (
	"net/http"
	"testing"
)

// Whoever has learned that a program ended does not get it again.
func TestADeadProgramIsNotLent(t *testing.T) {
	managed(t, func(o order, s *fakeSandbox) {
		s.serve(o, func(http.ResponseWriter, *http.Request) { s.end(Status{Code: 7}) })
	}, func(t *testing.T, m *Manager, _ *fakeDriver) {
		l := acquire(t, m, "api_a")
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/", nil)
		m.mu.Lock() // keeps the manager's own goroutine from noticing first
		_, _ = l.RoundTrip(req)
		if l.Exit(t.Context()) == nil {
			t.Fatal("it lives")
		}
		m.mu.Unlock()
		again := acquire(t, m, "api_a") // without a wait for anything
		if again.Instance == l.Instance {
			t.Error("the dead one was lent again")
		}
		again.Release()
		l.Release()
	})
}
