package sandbox

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// taskPlayer plays the runner for tasks: "end" ends, anything else goes on for ever.
func taskPlayer(o order, s *fakeSandbox) {
	s.say(event{Event: "started"})
	s.output(Line{Stream: "stdout", Text: "ran " + o.Task})
	if o.Task == "end" {
		s.end(Status{Code: 7})
	}
}

func TestTasksEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDriver{program: taskPlayer}
		m := NewManager(ManagerConfig{Driver: d, MaxSandboxes: 1, RoomTimeout: time.Second})
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var printed []string
		task := func(code string, time time.Duration) Task {
			return Task{Code: code, Time: time, Output: func(l Line) {
				mu.Lock()
				defer mu.Unlock()
				printed = append(printed, l.Text)
			}}
		}
		spec := Spec{API: "a", Version: 1, Files: "/files"}
		exit, err := m.Run(t.Context(), spec, task("end", time.Minute))
		if err != nil || exit.Reason != Finished || exit.Code != 7 {
			t.Errorf("a task that ends: %+v, %v", exit, err)
		}
		began := time.Now()
		exit, err = m.Run(t.Context(), spec, task("loop", time.Minute))
		if err != nil || exit.Reason != TimeLimit || time.Since(began) != time.Minute {
			t.Errorf("a task without end: %+v, %v after %v", exit, err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err = m.Run(ctx, spec, task("loop", time.Minute)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller who goes away: %v", err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := m.Run(t.Context(), spec, task("loop", time.Hour)); !errors.Is(err, ErrStopped) {
				t.Errorf("a manager that stops: %v", err)
			}
		})
		synctest.Wait()
		if _, err = m.Run(t.Context(), spec, task("end", time.Minute)); !errors.Is(err, ErrNoRoom) {
			t.Errorf("no room: %v", err)
		}
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if _, err := m.Run(t.Context(), spec, task("end", time.Minute)); !errors.Is(err, ErrStopped) {
			t.Errorf("after the stop: %v", err)
		}
		if d.count() != 0 || m.live != 0 {
			t.Errorf("%d sandboxes run, %d places are taken", d.count(), m.live)
		}
		if len(printed) != 4 {
			t.Errorf("printed %q", printed)
		}
	})
}

// TestTasksOfADeletedAPIEnd: its code runs on nowhere, whether the deletion was made here or on another node.
func TestTasksOfADeletedAPIEnd(t *testing.T) {
	for name, remove := range map[string]func(*Manager){
		"here": func(m *Manager) {
			if err := m.Remove(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
		},
		"elsewhere": func(m *Manager) { m.Changed("a") },
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &fakeDriver{program: taskPlayer}
			m := NewManager(ManagerConfig{Driver: d, Plan: func(context.Context, string) (Plan, error) { return Plan{}, ErrUnknownAPI }})
			var wg sync.WaitGroup
			for _, api := range []string{"a", "b"} {
				wg.Go(func() {
					began := time.Now()
					exit, err := m.Run(t.Context(), Spec{API: api}, Task{Code: "loop", Time: time.Hour, Output: func(Line) {}})
					want, after := Draining, time.Duration(0)
					if api == "b" {
						want, after = TimeLimit, time.Hour
					}
					if err != nil || exit.Reason != want || time.Since(began) != after {
						t.Errorf("%s: the task of %s: %+v, %v after %v", name, api, exit, err, time.Since(began))
					}
				})
			}
			synctest.Wait()
			remove(m)
			synctest.Wait()
			m.mu.Lock()
			tasks := len(m.tasks)
			m.mu.Unlock()
			if d.count() != 1 || tasks != 1 {
				t.Errorf("%s: %d sandboxes run, %d tasks", name, d.count(), tasks)
			}
			wg.Wait()
			if err := m.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
