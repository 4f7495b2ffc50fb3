package pythonenv

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// flights makes one build of equal requests that come at the same time.
type flights struct {
	mu      sync.Mutex
	byInput map[string]*flight
	running sync.WaitGroup
	stopped bool
}

// flight is one build and those who wait for it.
type flight struct {
	cancel  context.CancelCauseFunc
	waiters map[chan string]bool
	done    chan struct{} // closed when env and err are set
	env     Environment
	err     error
}

var (
	errAbandoned = errors.New("everybody who waited for the build has gone")
	errStopped   = errors.New("the server is stopping")
)

type buildFunc func(ctx context.Context, say func(string)) (Environment, error)

// do joins the build of an input or begins it, and passes what it says to progress until it ends or ctx does. The last
// one to leave ends the build and waits for its end.
func (s *flights) do(ctx context.Context, input string, progress func(string), build buildFunc) (Environment, error) {
	lines := make(chan string, 256)
	f, err := s.join(ctx, input, lines, build)
	if err != nil {
		return Environment{}, err
	}
	if progress == nil {
		progress = func(string) {}
	}
	for {
		select {
		case line := <-lines:
			progress(line)
		case <-f.done:
			for len(lines) > 0 {
				progress(<-lines)
			}
			return f.env, f.err
		case <-ctx.Done():
			s.leave(input, f, lines)
			return Environment{}, fmt.Errorf("wait for the environment: %w", context.Cause(ctx))
		}
	}
}

func (s *flights) join(ctx context.Context, input string, lines chan string, build buildFunc) (*flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, fmt.Errorf("build an environment: %w", errStopped)
	}
	if f := s.byInput[input]; f != nil {
		f.waiters[lines] = true
		return f, nil
	}
	own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	f := &flight{cancel: cancel, waiters: map[chan string]bool{lines: true}, done: make(chan struct{})}
	s.byInput[input] = f
	s.running.Go(func() {
		f.env, f.err = build(own, func(line string) { s.say(f, line) })
		cancel(nil)
		s.forget(input, f)
		close(f.done)
	})
	return f, nil
}

// say never waits for a slow listener: it misses lines instead.
func (s *flights) say(f *flight, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for lines := range f.waiters {
		select {
		case lines <- line:
		default:
		}
	}
}

func (s *flights) leave(input string, f *flight, lines chan string) {
	s.mu.Lock()
	delete(f.waiters, lines)
	last := len(f.waiters) == 0
	if last && s.byInput[input] == f {
		delete(s.byInput, input) // who comes now begins anew
	}
	s.mu.Unlock()
	if last {
		f.cancel(errAbandoned)
		<-f.done
	}
}

func (s *flights) forget(input string, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byInput[input] == f {
		delete(s.byInput, input)
	}
}

func (s *flights) stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	for _, f := range s.byInput {
		f.cancel(errStopped)
	}
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the builds to end: %w", context.Cause(ctx))
	}
}
