package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	headerTimeout = 10 * time.Second
	keepAlive     = 2 * time.Minute
	headerBytes   = 64 << 10

	// cutGrace is for handlers to write their records once their connections are cut.
	cutGrace = 5 * time.Second
)

var errDraining = errors.New("the server is stopping")

// Server returns a server for g, which the caller starts with Serve. Drain ends it.
func (g *Gateway) Server() *http.Server {
	errorLog, err := zap.NewStdLogAt(g.log.Named("http"), zap.WarnLevel)
	if err != nil {
		panic(err) // only for a level that does not exist
	}
	s := &http.Server{
		Handler:                      g,
		ReadHeaderTimeout:            headerTimeout,
		IdleTimeout:                  keepAlive,
		MaxHeaderBytes:               headerBytes,
		DisableGeneralOptionsHandler: true, // its answer to OPTIONS * has no request id
		ErrorLog:                     errorLog,
	}
	g.traffic.add(s)
	return s
}

// Drain ends the servers made by Server: they take no more connections, and what is going on may finish until ctx ends;
// then it is cut, WebSockets too, and Drain returns the context's error. In both cases the usage records of all
// requests were kept when it returns. It may be called more than once.
func (g *Gateway) Drain(ctx context.Context) error {
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
			_ = s.Close()
		}
		cutCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cutGrace)
		defer cancel()
		err = errors.Join(err, g.traffic.wait(cutCtx))
	}
	g.directory.close()
	return err
}

// traffic knows what is going on: the requests, and the upgraded connections, which net/http has forgotten. The zero
// value is ready for use.
type traffic struct {
	mu      sync.Mutex
	count   int
	closing bool
	isCut   bool
	idle    chan struct{} // closed when count comes to 0; nil when nobody waits
	servers []*http.Server
	tunnels map[*func()]struct{}
}

func (t *traffic) add(s *http.Server) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.servers = append(t.servers, s)
}

func (t *traffic) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
}

func (t *traffic) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count--
	if t.count == 0 && t.idle != nil {
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

func (t *traffic) close() []*http.Server {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closing = true
	return t.servers
}

// wait returns nil when nothing is going on, or the context's error.
func (t *traffic) wait(ctx context.Context) error {
	t.mu.Lock()
	if t.count == 0 {
		t.mu.Unlock()
		return nil
	}
	if t.idle == nil {
		t.idle = make(chan struct{})
	}
	idle := t.idle
	t.mu.Unlock()
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
	for _, end := range ends {
		end()
	}
}
