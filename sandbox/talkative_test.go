package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
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

// Code of packages runs before the program arrives, and can keep the runner from saying that it has.
func TestAProgramThatWasNotTakenRunsNowhere(t *testing.T) {
	starts := map[string]func(context.Context, *Manager) error{
		"a request": func(ctx context.Context, m *Manager) error {
			_, err := m.Acquire(ctx, "api_a")
			return err
		},
		"a deploy": func(ctx context.Context, m *Manager) error {
			_, err := m.Replace(ctx, Spec{API: "api_a", Version: 2}, func(context.Context) error { return nil })
			return err
		},
		"a task": func(ctx context.Context, m *Manager) error {
			exit, err := m.Run(ctx, Spec{API: "api_a", Version: 1}, Task{Code: "loop", Time: time.Hour, Output: func(Line) {}})
			if err != nil {
				return err
			}
			return exit
		},
	}
	for name, start := range starts {
		for _, isolated := range []bool{false, true} {
			managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
				acquire(t, m, "api_b").Release() // the same place
				settle()
				running, warm := d.count()-m.Warm(), m.Warm()
				if warm == 0 {
					t.Fatal("nothing is warm")
				}
				d.mute = true
				exit, ok := errors.AsType[*Exit](start(t.Context(), m))
				if !ok || exit.Reason != Crashed || !strings.Contains(exit.Detail, `"started" out of turn`) {
					t.Errorf("%s, isolated %t: %v", name, isolated, exit)
				}
				settle()
				if now := d.count() - m.Warm(); now != running {
					t.Errorf("%s, isolated %t: %d sandboxes with a program run, %d did before", name, isolated, now, running)
				}
			}, withWarm(1<<30), scaled(Scale{Isolated: isolated}))
		}
	}
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
