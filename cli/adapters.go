package cli

import (
	"context"
	"errors"

	"apibuilder/admin"
	"apibuilder/gateway"
	"apibuilder/logs"
	"apibuilder/sandbox"
)

// lender lends the manager's sandboxes to the gateway.
type lender struct{ *sandbox.Manager }

// Acquire implements gateway.Sandboxes.
func (l lender) Acquire(ctx context.Context, apiID string) (gateway.Lease, error) {
	lease, err := l.Manager.Acquire(ctx, apiID)
	if err != nil {
		return nil, err // not a lease that is nil and yet not nil
	}
	return lease, nil
}

// Wake implements admin.Lifecycle. Whoever asks for it by hand is not held off.
func (l lender) Wake(ctx context.Context, apiID string) error {
	l.Forgive(apiID)
	return l.Manager.Wake(ctx, apiID)
}

// sandboxes run versions for the deployer. What is kept of an API goes when the API goes.
type sandboxes struct {
	*sandbox.Manager
	forget func(apiID string) error
}

// Remove implements deploy.Sandboxes.
func (s sandboxes) Remove(ctx context.Context, apiID string) error {
	return errors.Join(s.Manager.Remove(ctx, apiID), s.forget(apiID))
}

// reader lets the management API read the logs.
type reader struct{ book *logs.Book }

func lineOut(l logs.Line) admin.LogLine { return admin.LogLine(l) }

// Tail implements admin.Logs.
func (r reader) Tail(apiID string, n int) ([]admin.LogLine, error) {
	lines, err := r.book.Tail(apiID, n)
	return convert(lines), err
}

// Follow implements admin.Logs.
func (r reader) Follow(apiID string, n int) ([]admin.LogLine, <-chan admin.LogLine, func(), error) {
	lines, follower, err := r.book.Follow(apiID, n)
	if err != nil {
		return nil, nil, nil, err
	}
	out, gone := make(chan admin.LogLine), make(chan struct{})
	go func() {
		defer close(out)
		for line := range follower.Lines() {
			select {
			case out <- lineOut(line):
			case <-gone:
				return
			}
		}
	}()
	end := func() {
		follower.Close()
		close(gone)
		for range out { // until its goroutine has ended
		}
	}
	return convert(lines), out, end, nil
}

func convert(lines []logs.Line) []admin.LogLine {
	out := make([]admin.LogLine, 0, len(lines))
	for _, l := range lines {
		out = append(out, lineOut(l))
	}
	return out
}
