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

// consumerServer serves consumers' connections: HTTP/1 by itself, because net/http's goroutine, timers and buffers for each
// request cost as much as all that the gateway does; HTTP/2 by net/http, which gets a connection as soon as that is known.
// It understands of http.Server's fields the handler alone; the times are those of this package.
type consumerServer struct {
	gateway *Gateway
	handler http.Handler
	second  *http.Server // for HTTP/2
	handoff *handoff

	handshakes context.Context // until the server closes
	closing    atomic.Bool
	close      context.CancelFunc

	mu    sync.Mutex
	conns map[*http1]struct{}
	none  chan struct{} // closed when conns is empty; nil when nobody waits
}

func newConsumerServer(g *Gateway, second *http.Server) *consumerServer {
	s := &consumerServer{
		gateway: g, handler: second.Handler, second: second,
		handoff: newHandoff(), conns: make(map[*http1]struct{}),
	}
	s.handshakes, s.close = context.WithCancel(context.Background())
	return s
}

// Serve takes connections from l until that is closed, and returns why it ended. What it has accepted is known to Shutdown
// when it returns.
func (s *consumerServer) Serve(l consumerListener) error {
	s.handoff.addr = l.Addr()
	go func() { _ = s.second.Serve(s.handoff) }() // it ends with Shutdown or Close
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
			_ = c.conn.Close()
		}
	}
	if len(s.conns) > 0 {
		if s.none == nil {
			s.none = make(chan struct{})
		}
		none = s.none
	}
	s.mu.Unlock()
	err := s.second.Shutdown(ctx)
	if none == nil {
		return err
	}
	select {
	case <-none:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

// Close closes all connections, and cancels the requests on them: nobody may be reading from one, who would see its end.
func (s *consumerServer) Close() error {
	s.closing.Store(true)
	s.close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.conn.Close()
		c.watch.cancel()
	}
	s.mu.Unlock()
	return s.second.Close()
}

// handoff is the listener from which net/http takes connections that speak HTTP/2.
type handoff struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newHandoff() *handoff { return &handoff{conns: make(chan net.Conn), done: make(chan struct{})} }

// put hands a connection over; false when nobody takes any.
func (h *handoff) put(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.done:
		return false
	}
}

// Accept implements net.Listener.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements net.Listener.
func (h *handoff) Addr() net.Addr { return h.addr }
