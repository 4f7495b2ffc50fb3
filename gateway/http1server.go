package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// consumerServer serves consumers' connections by itself, because net/http's goroutines, timers and buffers for each request cost as much as all
// that the gateway does, and for HTTP/2 twice as much.
type consumerServer struct {
	gateway *Gateway
	handler http.Handler

	handshakes context.Context // until the server closes
	closing    atomic.Bool
	close      context.CancelFunc

	mu    sync.Mutex
	conns map[*http1]struct{}
	none  chan struct{} // closed when conns is empty; nil when nobody waits
}

func newConsumerServer(g *Gateway, handler http.Handler) *consumerServer {
	s := &consumerServer{gateway: g, handler: handler, conns: make(map[*http1]struct{})}
	s.handshakes, s.close = context.WithCancel(context.Background())
	return s
}

// Serve takes connections from l until that is closed, and returns why it ended. What it has accepted is known to Shutdown
// when it returns.
func (s *consumerServer) Serve(l consumerListener) error {
	const shortest, longest, quiet = 5 * time.Millisecond, time.Second, time.Minute
	var told time.Time
	for pause := shortest; ; {
		conn, err := l.Accept()
		if err != nil {
			if !passes(err) {
				return err
			}
			if time.Since(told) > quiet {
				told = time.Now()
				s.gateway.log.Warn("consumers' connections cannot be taken now; further attempts are made", zap.Error(err))
			}
			time.Sleep(pause) // until descriptors are free again
			pause = min(2*pause, longest)
			continue
		}
		pause = shortest
		c := newHTTP1(s, conn.(*consumerConn))
		if !s.add(c) {
			_ = conn.Close()
			continue
		}
		go c.serve()
	}
}

// passes reports whether an error of accepting says nothing of the listener: there is too little of something, or what the connection that
// comes next has met already (accept(2)).
func passes(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout() || isExhausted(err) || slices.ContainsFunc([]error{
		syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM, syscall.ECONNABORTED, syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EOPNOTSUPP,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENONET,
	}, func(passing error) bool { return errors.Is(err, passing) })
}

func (s *consumerServer) add(c *http1) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *consumerServer) remove(c *http1) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.none != nil {
		close(s.none)
		s.none = nil
	}
}

// Shutdown closes the connections on which no request is under way, and waits for the others to end, or for ctx. The listener
// is whose it is.
func (s *consumerServer) Shutdown(ctx context.Context) error {
	s.closing.Store(true)
	s.close()
	s.mu.Lock()
	var none chan struct{}
	for c := range s.conns {
		if c.state.CompareAndSwap(stateIdle, stateClosed) {
			if c.conn.isSecure() {
				go func() { _ = c.conn.Close() }() // its goodbye may take seconds
			} else {
				_ = c.conn.Close()
			}
		} else if second := c.second.Load(); second != nil {
			go second.shutdown() // it may have to wait for the goodbye of TLS
		}
	}
	if len(s.conns) > 0 {
		if s.none == nil {
			s.none = make(chan struct{})
		}
		none = s.none
	}
	s.mu.Unlock()
	if none == nil {
		return nil
	}
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close closes all connections, and cancels the requests on them: nobody may be reading from one, who would see its end.
func (s *consumerServer) Close() {
	s.closing.Store(true)
	s.close()
	s.mu.Lock()
	for c := range s.conns {
		_ = socketOf(c.conn.Conn).Close() // without TLS's goodbye, for which a read that writes may have to be waited for
		c.watch.cancel()
	}
	s.mu.Unlock()
}
