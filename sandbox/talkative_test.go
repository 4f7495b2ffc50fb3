package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// A program that has the control descriptor may say what it likes over it. What it says costs the host little.

func TestAProgramIsTakenOnce(t *testing.T) {
	managed(t, func(o order, s *fakeSandbox) {
		s.say(event{Event: "taken"})
		s.serve(o, ok)
	}, func(t *testing.T, m *Manager, _ *fakeDriver) {
		_, err := m.Acquire(t.Context(), "api_a")
		if exit, ok := errors.AsType[*Exit](err); !ok || exit.Reason != Crashed || !strings.Contains(exit.Detail, "out of turn") {
			t.Errorf("error %v", err)
		}
	})
}

func TestRoutesThatNobodyAskedForAreNotKept(t *testing.T) {
	managed(t, func(o order, s *fakeSandbox) {
		s.driver.routes = make([]Route, 10_000)
		s.serve(o, ok)
	}, func(t *testing.T, m *Manager, _ *fakeDriver) {
		l := acquire(t, m, "api_a")
		defer l.Release()
		if n := len(l.Routes()); n != 0 {
			t.Errorf("%d routes", n)
		}
	})
}

func TestDetailsAreBounded(t *testing.T) {
	body, err := json.Marshal(event{Event: "failed", Reason: ImportError, Detail: strings.Repeat("é", maxDetail) + "last"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := readEvent(bytes.NewReader(frame(string(body))))
	if err != nil || len(e.Detail) > maxDetail+2 || !strings.HasSuffix(e.Detail, "élast") {
		t.Errorf("%d bytes, %v", len(e.Detail), err)
	}
}
