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

const (
	settleTime  = 250 * time.Millisecond // for connections on which requests follow each other
	freshTime   = time.Second            // for the first request on a connection
	settleEvery = 5 * time.Millisecond
)

// settle serves on for a moment when no more connections are taken. A server's Shutdown drops a request that it has not read
// to the end of its header by then, and closes idle connections on which one may be on its way. Those that are in use end by
// `Connection: close` meanwhile, and those that are new bring their request.
func (g *Gateway) settle(ctx context.Context, none <-chan struct{}) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for began := time.Now(); ; {
		select {
		case <-none:
			return
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if past := now.Sub(began); past >= freshTime || past >= settleTime && g.traffic.freshConns() == 0 {
				return
			}
		}
	}
}

func (t *traffic) freshConns() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fresh
}

// used notes that a request has come, or that none will.
func (c *consumerConn) used() {
	if !c.isUsed.Swap(true) {
		c.traffic.mu.Lock()
		defer c.traffic.mu.Unlock()
		c.traffic.fresh--
	}
}

// retire closes the listeners, and returns when every connection that was accepted is known to its http.Server: Shutdown
// would not wait for one that is on its way there. What it returns is closed when no connection is left.
func (t *traffic) retire() <-chan struct{} {
	t.mu.Lock()
	t.retiring.Store(true)
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

func (t *traffic) isRetiring() bool { return t.retiring.Load() }

// opened counts a connection; closed must be called once.
func (t *traffic) opened() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns++
	t.fresh++
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
		c.used()
		c.traffic.closed()
	}
	return c.Conn.Close()
}

var _ net.Conn = (*consumerConn)(nil)
