package gateway

import (
	"context"
	"net"
	"time"
)

// retireTime is how long consumers are asked to come again on another connection, before those that are idle are closed.
const retireTime = 2 * time.Second

// Retire is for a server whose listening sockets live on in another process. It takes no more connections from them, and
// serves those that it has, asking their consumers to come on another one next time: `Connection: close` (RFC 9112, 9.6), and
// GOAWAY in HTTP/2. So a connection on which requests follow each other ends with an answer, while one that Drain closes may
// have a request on its way. It returns when no connection is left, after two seconds, or when ctx ends; Drain follows.
func (g *Gateway) Retire(ctx context.Context) {
	none := g.traffic.retire()
	g.traffic.handOn()
	timer := time.NewTimer(retireTime)
	defer timer.Stop()
	select {
	case <-none:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// retire closes the listeners, and returns when every connection that was accepted is known to its http.Server: Shutdown
// would not wait for one that is on its way there. What it returns is closed when no connection is left.
func (t *traffic) retire() <-chan struct{} {
	t.mu.Lock()
	t.retiring = true
	listeners := t.listeners
	t.listeners = nil
	t.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close()
	}
	t.accepting.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.none != nil {
		return t.none
	}
	t.none = make(chan struct{})
	if t.conns == 0 {
		close(t.none)
	}
	return t.none
}

func (t *traffic) handOn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handedOn = true
}

// wasHandedOn reports whether another process goes on with the listeners.
func (t *traffic) wasHandedOn() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.handedOn
}

func (t *traffic) isRetiring() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.retiring
}

// opened counts a connection; closed must be called once.
func (t *traffic) opened() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns++
}

func (t *traffic) closed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns--
	if t.conns == 0 && t.none != nil {
		close(t.none)
	}
}

// Close implements net.Conn.
func (c *consumerConn) Close() error {
	if !c.isClosed.Swap(true) {
		c.traffic.closed()
	}
	return c.Conn.Close()
}

var _ net.Conn = (*consumerConn)(nil)
