package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Task is one-off code that runs in a sandbox of its own, made like those of an API.
type Task struct {
	Code   string
	Args   []string      // sys.argv; the first is what tracebacks call the code
	Time   time.Duration // that the code may run for
	Output func(Line)    // gets what it prints, from several goroutines; the code's writes wait for it
}

// Run runs a task beside the program of spec, which is there to be imported but is not started, and returns how it ended once
// everything of it is gone: Reason Finished when it ended by itself, whatever its exit code. The error is ErrNoRoom, ErrStopped,
// or that of ctx, whose end ends the task.
func (m *Manager) Run(ctx context.Context, spec Spec, t Task) (*Exit, error) {
	m.mu.Lock()
	if m.stopped {
		m.mu.Unlock()
		return nil, ErrStopped
	}
	m.work.Add(1) // Stop waits for it
	m.mu.Unlock()
	defer m.work.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.life, cancel)()
	spec.task = &t
	i, err := m.launch(ctx, spec, false)
	if m.life.Err() != nil && err != nil {
		return nil, ErrStopped
	}
	if exit, failed := errors.AsType[*Exit](err); failed && ctx.Err() == nil {
		return taskEnd(exit), nil
	}
	if err != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	end := m.finish(ctx, i, t)
	m.mu.Lock()
	m.freeLocked()
	m.mu.Unlock()
	switch {
	case m.life.Err() != nil:
		return nil, ErrStopped
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return taskEnd(end), nil
}

// finish waits for the end of a task that has begun, and brings it about when its time is over or ctx ends.
func (m *Manager) finish(ctx context.Context, i *Instance, t Task) *Exit {
	timer := time.NewTimer(t.Time)
	defer timer.Stop()
	select {
	case <-i.done:
		return i.Exit()
	case <-timer.C:
		return i.kill(&Exit{Reason: TimeLimit, Detail: fmt.Sprintf("the code ran for longer than %v", t.Time)})
	case <-ctx.Done():
		return i.kill(&Exit{Reason: Draining, Detail: "it was given up"})
	}
}

// taskEnd says what an end means for a task: code that ends has not crashed.
func taskEnd(e *Exit) *Exit {
	end := *e
	if end.Reason == Crashed && end.Signal == "" {
		end.Reason, end.Detail = Finished, ""
	}
	return &end
}
