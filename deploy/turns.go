package deploy

import (
	"context"
	"sync"
)

// turns lets one holder at a time have a name; different names do not wait for one another. The zero value is ready.
type turns struct {
	mu    sync.Mutex
	queue map[string]*turn
}

type turn struct {
	free  chan struct{} // holds one value while nobody has the name
	users int           // holder and waiters: the last one out removes the entry
}

// take waits for the name and returns what gives it up, to be called once. An error is ctx's.
func (t *turns) take(ctx context.Context, name string) (end func(), err error) {
	mine := t.join(name)
	select {
	case <-mine.free:
		return func() { mine.free <- struct{}{}; t.leave(name, mine) }, nil
	case <-ctx.Done():
		t.leave(name, mine)
		return nil, context.Cause(ctx)
	}
}

func (t *turns) join(name string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	mine := t.queue[name]
	if mine == nil {
		mine = &turn{free: make(chan struct{}, 1)}
		mine.free <- struct{}{}
		if t.queue == nil {
			t.queue = map[string]*turn{}
		}
		t.queue[name] = mine
	}
	mine.users++
	return mine
}

func (t *turns) leave(name string, mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine.users--; mine.users == 0 {
		delete(t.queue, name)
	}
}
