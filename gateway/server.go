package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	headerTimeout = 10 * time.Second
	keepAlive     = 2 * time.Minute
	headerBytes   = 64 << 10
	urlBytes      = 16 << 10
	fieldOverhead = 32 // that HTTP/2 counts beside a field's bytes (RFC 9113, 6.5.2)

	// cutGrace is for handlers to write their records once their connections are cut.
	cutGrace = 5 * time.Second
)

var errDraining = errors.New("the server is stopping")

// Serve takes consumers' connections from l until Drain ends it, HTTP/1 and HTTP/2 without TLS (prior knowledge); with
// a TLS configuration, both inside TLS, besides the protocols that it names. It closes l. It returns http.ErrServerClosed after Drain, or why l broke.
func (g *Gateway) Serve(l net.Listener, security *tls.Config) error {
	if security != nil {
		security = security.Clone()
		security.NextProtos = append([]string{"h2", "http/1.1", "http/1.0"}, security.NextProtos...) // who offers only others is refused (RFC 7301, 3.2)
	}
	return g.serve(g, l, security)
}

// serve has a handler answer until Drain.
func (g *Gateway) serve(handler http.Handler, l net.Listener, security *tls.Config) error {
	l = socketListener{l}
	if g.config.ProxyProtocol {
		l = proxyListener(l, g.config.TrustedProxies)
	}
	if security != nil {
		l = tls.NewListener(l, security)
	}
	server := newConsumerServer(g, handler)
	if !g.traffic.add(server, l) {
		_ = l.Close()
		return http.ErrServerClosed
	}
	defer g.traffic.accepting.Done()
	err := server.Serve(consumerListener{l, g})
	if g.traffic.isRetiring() {
		return http.ErrServerClosed
	}
	return err
}

// Drain ends the servers that Serve runs: they take no more connections, and what is going on may finish until ctx ends;
// then it is cut, WebSockets too, and Drain returns the context's error. In both cases the usage records of all
// requests were kept when it returns. It may be called more than once.
func (g *Gateway) Drain(ctx context.Context) error {
	g.settle(ctx, g.traffic.retire())
	servers := g.traffic.close()
	var group sync.WaitGroup
	for _, s := range servers {
		group.Go(func() { _ = s.Shutdown(ctx) }) // its only errors are the context's and those of closing listeners
	}
	group.Wait()
	err := g.traffic.wait(ctx)
	if err != nil {
		err = fmt.Errorf("drain: %w", err)
		g.traffic.cut()
		for _, s := range servers {
			s.Close()
		}
		cutCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cutGrace)
		defer cancel()
		err = errors.Join(err, g.traffic.wait(cutCtx))
	}
	g.directory.close()
	g.mapped.close()
	return err
}

// traffic knows what is going on: the requests, and the upgraded connections, which the servers have forgotten. The zero
// value is ready for use.
type traffic struct {
	count    atomic.Int64 // requests, and upgraded connections
	awaited  atomic.Bool  // somebody has waited for count to come to 0
	retiring atomic.Bool

	mu      sync.Mutex
	closing bool
	isCut   bool
	idle    chan struct{} // closed when count comes to 0; nil when nobody waits
	servers []*consumerServer
	tunnels map[*func()]struct{}

	accepting sync.WaitGroup // loops
	handedOn  bool
	listeners []net.Listener
	conns     int           // consumers' connections
	fresh     int           // of them, those on which no request has come yet
	none      chan struct{} // closed when conns comes to 0; nil when nobody waits
}

// add registers a server; false when it is too late for one.
func (t *traffic) add(s *consumerServer, l net.Listener) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing || t.retiring.Load() {
		return false
	}
	t.accepting.Add(1)
	t.servers, t.listeners = append(t.servers, s), append(t.listeners, l)
	return true
}

func (t *traffic) begin() { t.count.Add(1) }

func (t *traffic) end() {
	if t.count.Add(-1) > 0 || !t.awaited.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

func (t *traffic) draining() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closing
}

func (t *traffic) wasCut() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.isCut
}

func (t *traffic) close() []*consumerServer {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closing = true
	return t.servers
}

// wait returns nil when nothing is going on, or the context's error.
func (t *traffic) wait(ctx context.Context) error {
	t.mu.Lock()
	if t.idle == nil {
		t.idle = make(chan struct{})
	}
	idle := t.idle
	t.awaited.Store(true) // before the look, so that who ends the last one sees it, or that end is seen here
	t.mu.Unlock()
	if t.count.Load() == 0 {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cutWith registers what ends an upgraded connection, until forget is called; false when it is too late for one.
func (t *traffic) cutWith(end func()) (forget func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isCut {
		return func() {}, false
	}
	if t.tunnels == nil {
		t.tunnels = make(map[*func()]struct{})
	}
	key := &end
	t.tunnels[key] = struct{}{}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.tunnels, key)
	}, true
}

func (t *traffic) cut() {
	t.mu.Lock()
	t.isCut = true
	var ends []func()
	for end := range t.tunnels {
		ends = append(ends, *end)
	}
	t.mu.Unlock()
	var group sync.WaitGroup
	for _, end := range ends {
		group.Go(end) // each may take a moment to say so
	}
	group.Wait()
}
