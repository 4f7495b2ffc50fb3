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

// running is a task under way.
type running struct {
	api  string
	end  context.CancelCauseFunc
	done chan struct{}
}

// errDeleted is why the tasks of an API end that goes.
var errDeleted = errors.New("the API was deleted, or taken out of service")

// endTasksLocked begins to end the tasks of an API and returns them.
func (m *Manager) endTasksLocked(api string) (tasks []*running) {
	for r := range m.tasks {
		if r.api == api {
			r.end(errDeleted)
			tasks = append(tasks, r)
		}
	}
	return tasks
}

// Run runs a task beside the program of spec, which is there to be imported but is not started, and returns how it ended once
// everything of it is gone: Reason Finished when it ended by itself, whatever its exit code, and Draining when the API goes. The
// error is ErrNoRoom, ErrStopped, or that of ctx, whose end ends the task.
func (m *Manager) Run(ctx context.Context, spec Spec, t Task) (*Exit, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m.mu.Lock()
	if m.stopped {
		m.mu.Unlock()
		return nil, ErrStopped
	}
	m.work.Add(1) // Stop waits for it
	r := &running{api: spec.API, end: cancel, done: make(chan struct{})}
	m.tasks[r] = struct{}{}
	m.mu.Unlock()
	defer m.work.Done()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.tasks, r)
		close(r.done)
	}()
	defer context.AfterFunc(m.life, func() { cancel(nil) })()
	end, err := m.runTask(ctx, spec, t)
	if errors.Is(context.Cause(ctx), errDeleted) {
		return &Exit{Reason: Draining, API: spec.API, Version: spec.Version, Detail: errDeleted.Error(), At: time.Now().UTC()}, nil
	}
	return end, err
}

func (m *Manager) runTask(ctx context.Context, spec Spec, t Task) (*Exit, error) {
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
