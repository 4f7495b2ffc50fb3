package gateway

import (
	"context"
	"fmt"
	"sync"
)

// errCrowded says that a question did not get its turn in time.
var errCrowded = fmt.Errorf("%w: too many reads at once", errStore)

// reads are the questions to a store that are under way or wait for their turn: one for all who ask for the same, and not more than so many
// under way at once. Make one with newReads. Safe for concurrent use.
type reads struct {
	slots chan struct{}

	mu   sync.Mutex
	open map[string]*reading
}

// reading is one of them. Once it is under way it goes on, whoever gives up. Before that it ends with the last who waits for it: strangers
// ask for what they make up as fast as they can, and leave.
type reading struct {
	ctx     context.Context // of the reading
	end     context.CancelFunc
	waiters int
	begun   bool

	done  chan struct{} // closed when there is an answer
	value any
	err   error
}

func newReads(most int) *reads {
	return &reads{slots: make(chan struct{}, most), open: make(map[string]*reading)}
}

// do returns what read returns to it, or to somebody who asked for the same before: what names it. Errors: read's, errCrowded, the context's.
func (r *reads) do(ctx context.Context, what string, read func(context.Context) (any, error)) (any, error) {
	q := r.join(what, read)
	select {
	case <-q.done:
		return q.value, q.err
	case <-ctx.Done():
		r.leave(what, q)
		return nil, ctx.Err()
	}
}

// begin has something read that nobody waits for.
func (r *reads) begin(what string, read func(context.Context) (any, error)) { r.join(what, read) }

func (r *reads) join(what string, read func(context.Context) (any, error)) *reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.open[what]
	if q == nil {
		q = &reading{done: make(chan struct{})}
		q.ctx, q.end = context.WithTimeout(context.Background(), loadTimeout)
		r.open[what] = q
		go r.ask(what, q, read)
	}
	q.waiters++
	return q
}

func (r *reads) leave(what string, q *reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q.waiters--; q.waiters == 0 && !q.begun {
		q.end()
		r.closeLocked(what, q)
	}
}

// closeLocked has whoever asks from now on ask anew.
func (r *reads) closeLocked(what string, q *reading) {
	if r.open[what] == q {
		delete(r.open, what)
	}
}

func (r *reads) ask(what string, q *reading, read func(context.Context) (any, error)) {
	defer q.end()
	q.value, q.err = r.inTurn(q, read)
	r.mu.Lock()
	r.closeLocked(what, q)
	r.mu.Unlock()
	close(q.done)
}

func (r *reads) inTurn(q *reading, read func(context.Context) (any, error)) (any, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-q.ctx.Done():
		return nil, errCrowded
	}
	if !r.isWanted(q) {
		return nil, errCrowded // which nobody hears
	}
	return read(q.ctx)
}

// isWanted reports whether anybody waits for a question whose turn it is, which then goes on.
func (r *reads) isWanted(q *reading) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	q.begun = q.waiters > 0
	return q.begun
}
