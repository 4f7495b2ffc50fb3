package sandbox

import (
	"errors"
	"net/http"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// What the host lacks for a sandbox is the operator's to read, with its cause.
func TestASandboxThatCannotBeMadeIsTold(t *testing.T) {
	core, logged := observer.New(zapcore.InfoLevel)
	var told []Exit
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		d.refuses = errors.New("no space left on device")
		_, err := m.Acquire(t.Context(), "api_a")
		exit, ok := errors.AsType[*Exit](err)
		if !ok || exit.Reason != SandboxFailed || len(told) != 1 || told[0] != *exit || told[0].Detail != "no space left on device" {
			t.Errorf("error %v, told %+v", err, told)
		}
		lines := logged.FilterLevelExact(zapcore.ErrorLevel).All()
		if len(lines) != 1 || lines[0].ContextMap()["detail"] != "no space left on device" || lines[0].ContextMap()["api"] != "api_a" {
			t.Errorf("logged %+v", lines)
		}
	}, func(c *ManagerConfig) {
		c.Log = zap.New(core)
		c.OnExit = func(e Exit) { told = append(told, e) }
	})
}

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
