package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

const (
	programHeaderBytes = 64 << 10 // of a response, all its fields together
	programIdleConns   = 64
	programIdleTime    = time.Minute // the runner's keep-alive must be longer
	continueWait       = time.Second // for a program's 100 before the body is sent without
	mostConnectWait    = 20 * time.Millisecond
)

// Transport is how a Lease sends to one sandbox: an http.RoundTripper over pooled connections of its own, which may be
// used concurrently. It differs from http.Transport in what a hostile program makes necessary and a stream needs:
//   - the request target is r.URL.Opaque, byte for byte, when that is set;
//   - each piece of a body is on its way when Read has returned it, whatever its framing;
//   - all of r.Trailer is sent after a chunked body, announced or not; the reader of the body may fill it until it ends;
//   - an answer is read although the program stopped reading the request;
//   - a response that RFC 9112 calls malformed or ambiguous is an error, where http.Transport guesses;
//   - a connection is used again only when nothing about it is unclear: not after a broken, unframed or early answer, and
//     not when the program said more than it was asked.
//
// Nothing is added to the header but Host and the framing, and nothing is decompressed. Informational responses go to the
// gateway's own requests alone, others do not see them. Expect: 100-continue holds the body back until the
// program wants it, or for a second; the gateway's own consumers are asked for it in the first case alone.
type Transport struct {
	dial func(context.Context) (net.Conn, error)

	mu     sync.Mutex
	idle   []*programConn // the one used last is last
	reaper *time.Timer    // runs while idle is not empty
}

// NewTransport returns a Transport whose connections dial makes. Whoever owns the sandbox calls CloseIdleConnections at
// its end.
func NewTransport(dial func(context.Context) (net.Conn, error)) *Transport {
	return &Transport{dial: dial}
}

// RoundTrip implements http.RoundTripper. The request's body may still be read after it has returned, until the
// response's body is closed or the request's context ends.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	for again := false; ; {
		c, reused, err := t.conn(r, again)
		if err != nil {
			return nil, err
		}
		res, err := newTrip(c, r).run()
		if errors.Is(err, errSpoke) {
			continue
		}
		if err == nil || !reused || !errors.Is(err, errNoAnswer) || !repeatable(r) || r.Context().Err() != nil {
			return res, err
		}
		again = true // on a connection of its own, so that it is for the last time
	}
}

// repeatable reports whether r may be sent again when a connection turned out to be closed (RFC 9110, 9.2.2).
func repeatable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return r.Body == nil
	}
	return false
}

// conn takes a connection that waits, or makes one, which may have to be fresh.
func (t *Transport) conn(r *http.Request, fresh bool) (c *programConn, reused bool, err error) {
	for !fresh {
		c = t.take()
		if c == nil {
			break
		}
		if r.Body == nil || c.quiet() { // without a body, exchange looks by itself
			return c, true, nil
		}
		_ = c.conn.Close()
	}
	conn, err := t.connect(r.Context())
	if err != nil {
		return nil, false, err
	}
	return newProgramConn(conn, t), false, nil
}

var errConnectTimeout = errors.New("no connection to the program in time")

// connect makes a connection. connect(2) to a Unix socket whose backlog is full fails with EAGAIN, and nobody tells when
// there is room again.
func (t *Transport) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, connectLimit(ctx), errConnectTimeout)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, mostConnectWait) {
		conn, err := t.dial(ctx)
		switch {
		case err == nil:
			if program, ok := conn.(*net.UnixConn); ok {
				return newProgramSocket(program), nil
			}
			return newSocket(conn), nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case errors.Is(err, syscall.EAGAIN):
		case isTimeout(err): // net looks at the context's deadline itself, and may do so first
			return nil, fmt.Errorf("%w: %w", errConnectTimeout, err)
		default:
			return nil, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}

func (t *Transport) take() *programConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.idle)
	if n == 0 {
		return nil
	}
	c := t.idle[n-1]
	t.idle[n-1] = nil
	t.idle = t.idle[:n-1]
	return c
}

// put keeps a connection for the next request.
func (t *Transport) put(c *programConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.idle) >= programIdleConns {
		_ = c.conn.Close()
		return
	}
	c.since, c.used = time.Now(), true
	t.idle = append(t.idle, c)
	if t.reaper == nil {
		t.reaper = time.AfterFunc(programIdleTime, t.reap)
	}
}

// reap closes what was not used for long. The oldest are first.
func (t *Transport) reap() {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := 0
	for old < len(t.idle) && time.Since(t.idle[old].since) >= programIdleTime {
		_ = t.idle[old].conn.Close()
		old++
	}
	t.idle = append(t.idle[:0], t.idle[old:]...)
	clear(t.idle[len(t.idle):cap(t.idle)])
	if t.reaper == nil {
		return
	}
	if len(t.idle) == 0 {
		t.reaper = nil
		return
	}
	t.reaper.Reset(programIdleTime - time.Since(t.idle[0].since))
}

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.idle {
		_ = c.conn.Close()
	}
	t.idle = nil
	if t.reaper != nil {
		t.reaper.Stop()
		t.reaper = nil
	}
}
