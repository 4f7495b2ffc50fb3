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
	Time   time.Duration // that it may run for, start included
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
	ctx, cancel := context.WithTimeoutCause(ctx, t.Time, errTaskTime)
	defer cancel()
	defer context.AfterFunc(m.life, cancel)()
	spec.task = &t
	i, err := m.launch(ctx, spec, false)
	if exit, failed := errors.AsType[*Exit](err); failed {
		return taskEnd(ctx, exit, t), m.taskErr(ctx)
	}
	if err != nil && m.taskErr(ctx) == nil && ctx.Err() != nil {
		return taskEnd(ctx, &Exit{Reason: StartTimeout, API: spec.API, Version: spec.Version}, t), nil
	}
	if err != nil {
		return nil, err
	}
	select {
	case <-i.done:
	case <-ctx.Done():
		i.kill(&Exit{Reason: Draining, Detail: "it was given up"})
	}
	m.mu.Lock()
	m.freeLocked()
	m.mu.Unlock()
	return taskEnd(ctx, i.Exit(), t), m.taskErr(ctx)
}

// taskErr is why a task was given up, unless its time was over.
func (m *Manager) taskErr(ctx context.Context) error {
	switch {
	case m.life.Err() != nil:
		return ErrStopped
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errTaskTime):
		return ctx.Err()
	}
	return nil
}

var errTaskTime = errors.New("the task's time is over")

// taskEnd says what an end means for a task: code that ends has not crashed.
func taskEnd(ctx context.Context, e *Exit, t Task) *Exit {
	end := *e
	switch {
	case end.Reason == Crashed && end.Signal == "":
		end.Reason, end.Detail = Finished, ""
	case (end.Reason == Draining || end.Reason == StartTimeout) && errors.Is(context.Cause(ctx), errTaskTime):
		end.Reason, end.Detail = TimeLimit, fmt.Sprintf("the code ran for longer than %v", t.Time)
	}
	return &end
}
