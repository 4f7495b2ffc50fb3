package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	programHeaderBytes = 64 << 10 // of a response, all its fields together
	programIdleConns   = 64
	programIdleTime    = time.Minute // the runner's keep-alive must be longer
	continueWait       = time.Second // for a program's 100 before the body is sent without
)

// NewTransport returns the transport on which a Lease sends to one sandbox: dial opens a connection to its program. It
// adds no header field, decompresses nothing, bounds the response's header, and reads an early answer even when the
// program closes its connection in the middle of an upload. Whoever owns the sandbox calls CloseIdleConnections at its end.
func NewTransport(dial func(context.Context) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			return &programConn{Conn: conn}, nil
		},
		DisableCompression:     true,
		ExpectContinueTimeout:  continueWait,
		IdleConnTimeout:        programIdleTime,
		MaxIdleConns:           programIdleConns,
		MaxIdleConnsPerHost:    programIdleConns,
		MaxResponseHeaderBytes: programHeaderBytes,
	}
}

// programConn is a connection to a program. A program that closes it before it has read the whole request may have
// answered already; http.Transport would drop that answer for the error of its own write, so such writes seem to
// succeed until the transport has read the end and closes.
type programConn struct {
	net.Conn
	onClose atomic.Pointer[func()]
	deaf    atomic.Bool
	closed  atomic.Bool
}

// Write implements net.Conn.
func (c *programConn) Write(p []byte) (int, error) {
	if c.deaf.Load() {
		return c.discard(p)
	}
	n, err := c.Conn.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		c.deaf.Store(true)
		return c.discard(p)
	}
	return n, err
}

func (c *programConn) discard(p []byte) (int, error) {
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

// Close implements net.Conn.
func (c *programConn) Close() error {
	c.closed.Store(true)
	err := c.Conn.Close()
	if hook := c.onClose.Load(); hook != nil {
		(*hook)()
	}
	return err
}
