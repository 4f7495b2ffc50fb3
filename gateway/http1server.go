package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
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
	const shortest, longest = 5 * time.Millisecond, time.Second
	for pause := shortest; ; {
		conn, err := l.Accept()
		if err != nil {
			var network net.Error
			if errors.As(err, &network) && network.Timeout() || isExhausted(err) || errors.Is(err, syscall.ECONNABORTED) {
				time.Sleep(pause) // until descriptors are free again
				pause = min(2*pause, longest)
				continue
			}
			return err
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
