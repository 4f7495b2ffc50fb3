package gateway

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// lifetime is a context that somebody ends, as context.WithCancelCause makes one. It is a part of whatever lives so long, so that
// a request which nobody cancels costs neither an allocation nor a channel for it. One ender is told of the end, and whatever
// the package context derives from it. Ends come from above too, when it is bound to another context. The zero value with a parent
// is ready; it is safe for concurrent use, and must not be copied.
type lifetime struct {
	parent  context.Context // for values, and deadlines
	unbound func() bool     // of a parent that is no lifetime

	ended atomic.Bool // err is there; for who asks while it is not

	mu    sync.Mutex
	done  chan struct{} // nil: nobody has asked for it
	err   error
	cause error
	told  ender
}

// ender is told that a lifetime has ended, by whoever ended it: it must not wait for anything. It is told once.
type ender interface{ fail() }

// Deadline implements context.Context.
func (l *lifetime) Deadline() (time.Time, bool) { return l.parent.Deadline() }

// Value implements context.Context.
func (l *lifetime) Value(key any) any { return l.parent.Value(key) }

// Done implements context.Context.
func (l *lifetime) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
		if l.err != nil {
			close(l.done)
		}
	}
	return l.done
}

// Err implements context.Context.
func (l *lifetime) Err() error {
	if !l.ended.Load() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// why is the cause of the end; nil before it, and when none was given the error.
func (l *lifetime) why() error {
	if !l.ended.Load() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// end ends it, once. No cause stands for context.Canceled.
func (l *lifetime) end(cause error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	if cause == nil {
		cause = context.Canceled
	}
	l.err, l.cause = context.Canceled, cause
	l.ended.Store(true)
	if l.done != nil {
		close(l.done)
	}
	told := l.told
	l.told = nil
	l.mu.Unlock()
	if told != nil {
		told.fail()
	}
}

// fail implements ender, for a lifetime that is bound to another one.
func (l *lifetime) fail() { l.end(nil) }

// tell has e told of the end, in the place of whoever was to be told before; at once when it has ended.
func (l *lifetime) tell(e ender) {
	l.mu.Lock()
	ended := l.err != nil
	if !ended {
		l.told = e
	}
	l.mu.Unlock()
	if ended {
		e.fail()
	}
}

// untell reports whether e was not told, and sees to it that it will not be.
func (l *lifetime) untell(e ender) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told != e {
		return false
	}
	l.told = nil
	return true
}

// bind has the parent's end be that of l too, until unbind.
func (l *lifetime) bind() {
	if p, ok := l.parent.(*lifetime); ok {
		p.tell(l)
		return
	}
	l.unbound = context.AfterFunc(l.parent, l.fail)
}

// unbind reports whether the parent has not ended l, and will not.
func (l *lifetime) unbind() bool {
	if p, ok := l.parent.(*lifetime); ok {
		return p.untell(l)
	}
	return l.unbound()
}

// watched reports whether somebody may wait for the end, or be told of it.
func (l *lifetime) watched() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done != nil || l.told != nil
}

// connContext is the context of a consumer's connection. It ends never: requests do.
type connContext struct {
	context.Context
	conn *consumerConn
}

type consumerConnKey struct{}

// Value implements context.Context.
func (c *connContext) Value(key any) any {
	switch key {
	case consumerConnKey{}:
		return c.conn
	case http.LocalAddrContextKey:
		return c.conn.LocalAddr()
	}
	return c.Context.Value(key)
}

func connOf(r *http.Request) *consumerConn { return connIn(r.Context()) }

// connIn is the connection of a request's context; nil where another server has it.
func connIn(ctx context.Context) *consumerConn {
	c, _ := ctx.Value(consumerConnKey{}).(*consumerConn)
	return c
}

// withConn is the context of a connection's requests.
func withConn(ctx context.Context, c *consumerConn) context.Context { return &connContext{ctx, c} }
