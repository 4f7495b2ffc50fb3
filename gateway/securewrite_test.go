package gateway

import (
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// overConn is what crypto/tls is after a write that timed out: none succeeds any more.
type overConn struct {
	net.Conn
	writes atomic.Int32
}

func (c *overConn) Write([]byte) (int, error) {
	c.writes.Add(1)
	return 0, os.ErrDeadlineExceeded
}

func (c *overConn) SetWriteDeadline(time.Time) error { return nil }

// TestAWriteThatTimedOutIsNotTriedAgainInsideTLS: it would never end.
func TestAWriteThatTimedOutIsNotTriedAgainInsideTLS(t *testing.T) {
	for name, deadline := range map[string]time.Time{"no deadline": {}, "a deadline": time.Now().Add(time.Hour)} {
		under := &overConn{}
		c := newConsumerConn(under, &Gateway{config: Config{}.withDefaults()})
		_ = c.SetWriteDeadline(deadline)
		if _, err := c.Write([]byte("a")); !errors.Is(err, os.ErrDeadlineExceeded) || under.writes.Load() != 1 {
			t.Errorf("%s: %v after %d writes", name, err, under.writes.Load())
		}
	}
}

// stuckBody is read from a connection whose read writes, to a consumer who does not read: its deadline means nothing.
type stuckBody struct {
	http.ResponseWriter
	once  sync.Once
	freed chan struct{}
}

func (b *stuckBody) Read([]byte) (int, error) {
	<-b.freed
	return 0, os.ErrDeadlineExceeded
}

func (b *stuckBody) Close() error { return nil }

func (b *stuckBody) SetReadDeadline(time.Time) error { return nil }

func (b *stuckBody) SetWriteDeadline(time.Time) error {
	b.once.Do(func() { close(b.freed) })
	return nil
}

// TestAReadThatWritesEnds: nobody waits for it without end.
func TestAReadThatWritesEnds(t *testing.T) {
	b := &stuckBody{freed: make(chan struct{})}
	u := &upload{body: b, control: http.NewResponseController(b), length: 100, ctx: t.Context(), moved: func() {}, ended: func() {}}
	go func() { _, _ = u.Read(make([]byte, 10)) }()
	for !u.reading.Load() {
		time.Sleep(time.Millisecond)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		u.stop()
	}()
	within(t, "stop", stopped)
}
