package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/pires/go-proxyproto"
	"go.uber.org/zap"
)

// consumerConn is a consumer's connection. It keeps from whoever reads it what the guard refuses. Behind TLS it is the plain side.
type consumerConn struct {
	net.Conn
	log   *zap.Logger
	guard guard
	word  atomic.Pointer[string] // why the guard stopped the connection; nil: it did not
	free  atomic.Bool            // HTTP/1 has ended on it: bytes go through unseen

	traffic  *traffic
	isClosed atomic.Bool
	isUsed   atomic.Bool // a request has come

	client netip.Addr // as originOf has it, once a request has begun to come
	secret lastText[[32]byte]
	host   lastText[string]

	replay []byte            // was read already, and looked at; is read again before anything else
	peeked *[smallBytes]byte // where replay is, if await has read it
	late   error             // what await met, for who reads behind replay

	readDeadline, writeDeadline deadline
}

func newConsumerConn(conn net.Conn, g *Gateway) *consumerConn {
	return &consumerConn{
		Conn: conn, traffic: &g.traffic, log: g.log,
		guard:         guard{mostHead: g.config.Limits.HeaderBytes, mostTarget: g.config.Limits.URLBytes},
		readDeadline:  deadline{set: conn.SetReadDeadline},
		writeDeadline: deadline{set: conn.SetWriteDeadline, eager: !isPlainSocket(conn)},
	}
}

// isPlainSocket knows connections on which a write may go on after a timeout. TLS is none (crypto/tls, Conn.SetWriteDeadline).
func isPlainSocket(c net.Conn) bool {
	switch c.(type) {
	case *socket, *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// errGuard is what the server reads when the guard has stopped a connection.
var errGuard = errors.New("the request is malformed or ambiguous")

// stopped returns the word for which the guard has stopped the connection, or nothing. It may be called concurrently.
func (c *consumerConn) stopped() string {
	if c == nil {
		return ""
	}
	if word := c.word.Load(); word != nil {
		return *word
	}
	return ""
}

// Read implements net.Conn.
func (c *consumerConn) Read(p []byte) (int, error) {
	if len(c.replay) > 0 {
		n := copy(p, c.replay)
		c.replay = c.replay[n:]
		if c.peeked != nil && len(c.replay) == 0 {
			n += c.dropPeeked(p[n:])
		}
		return n, nil
	}
	if err := c.late; err != nil {
		c.late = nil
		return 0, err
	}
	return c.receive(p)
}

// receive reads what has not been read.
func (c *consumerConn) receive(p []byte) (int, error) {
	if c.word.Load() != nil {
		return 0, errGuard
	}
	n, err := c.Conn.Read(p)
	for n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.readDeadline.early() {
		n, err = c.Conn.Read(p)
	}
	if n == 0 || c.free.Load() {
		return n, err
	}
	good, word := c.guard.pass(p[:n])
	if word == "" {
		return n, err
	}
	c.stop(word)
	if good == 0 {
		return 0, errGuard
	}
	return good, nil
}

// await implements awaiter. Of what is no socket, as TLS is none, it reads a little, to be read again: a record of TLS is taken whole or not at all.
func (c *consumerConn) await() {
	switch s, ok := c.Conn.(*socket); {
	case len(c.replay) > 0 || c.late != nil:
	case ok:
		s.await()
	default:
		c.peek()
	}
}

func (c *consumerConn) peek() {
	c.peeked = smallBuffers.Get().(*[smallBytes]byte)
	var n int
	n, c.late = c.receive(c.peeked[:])
	c.replay = c.peeked[:n]
	if n == 0 {
		c.dropPeeked(nil)
	}
}

// dropPeeked gives back what await has read into, and reads into p what is there already of more.
func (c *consumerConn) dropPeeked(p []byte) (n int) {
	s, ok := socketOf(c.Conn).(*socket)
	more := ok && len(p) > 0 && cap(c.replay) == 0 && c.late == nil
	smallBuffers.Put(c.peeked)
	c.peeked, c.replay = nil, nil
	if more {
		s.hurried.Store(true)
		n, _ = c.receive(p) // an error is met again
		s.hurried.Store(false)
	}
	return n
}

// stop keeps why nothing more is read. The word is on the heap only then.
func (c *consumerConn) stop(word string) { c.word.Store(&word) }

// Write implements net.Conn.
func (c *consumerConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	for !c.writeDeadline.eager && errors.Is(err, os.ErrDeadlineExceeded) && c.writeDeadline.early() {
		var more int
		more, err = c.Conn.Write(p[n:])
		n += more
	}
	return n, err
}

// writeAll writes both parts, with one call where the connection can.
func (c *consumerConn) writeAll(a, b []byte) error {
	s, ok := c.Conn.(*socket)
	if !ok {
		if _, err := c.Write(a); err != nil {
			return err
		}
		_, err := c.Write(b)
		return err
	}
	n, err := s.write(a, b)
	for errors.Is(err, os.ErrDeadlineExceeded) && c.writeDeadline.early() {
		first := min(n, len(a))
		a, b = a[first:], b[n-first:]
		n, err = s.write(a, b)
	}
	return err
}

// SetDeadline implements net.Conn.
func (c *consumerConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// awaitUntil is SetReadDeadline for what comes while nothing is written. Inside TLS a read may write as well (RFC 8446, 4.6.3), for which a consumer who
// does not read must not have for ever, and which must not fail because the time for what was written last is over.
func (c *consumerConn) awaitUntil(t time.Time) {
	_ = c.SetReadDeadline(t)
	if c.isSecure() {
		_ = c.SetWriteDeadline(t.Add(writeGrace))
	}
}

func (c *consumerConn) isSecure() bool {
	_, is := c.Conn.(*tls.Conn)
	return is
}

// SetReadDeadline implements net.Conn.
func (c *consumerConn) SetReadDeadline(t time.Time) error { return c.readDeadline.move(t) }

// SetWriteDeadline implements net.Conn.
func (c *consumerConn) SetWriteDeadline(t time.Time) error { return c.writeDeadline.move(t) }

// problem is a whole answer, after which the connection ends.
func (c *consumerConn) problem(word string) []byte {
	id := newRequestID(time.Now())
	status, body := problemText(word, id)
	c.log.Debug("refused", zap.String("request_id", id), zap.Int("status", status), zap.String("reason", word))
	var h fieldList
	h.add("Connection", "close")
	h.add("Date", dateNow())
	h.setProblem(word, status, len(body))
	h.add("X-Request-Id", id)
	out := h.appendTo(fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status)))
	return append(append(out, "\r\n"...), body...)
}

// CloseWrite lets the server end an answer without a reset when the consumer still sends.
func (c *consumerConn) CloseWrite() error {
	conn := c.Conn
	if proxied, ok := conn.(*proxyproto.Conn); ok {
		conn = proxied.Raw()
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// reset breaks the connection off, so that nobody takes what was sent for all of an answer: a TCP connection by a reset, TLS
// without its goodbye (RFC 9112, 8).
func (c *consumerConn) reset() {
	conn := socketOf(c.Conn)
	if s, ok := conn.(*socket); ok {
		_ = s.reset()
		return
	}
	_ = conn.Close()
}

// security tells what TLS has agreed on; nil without TLS.
func (c *consumerConn) security() *tls.ConnectionState {
	conn, ok := c.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	state := conn.ConnectionState()
	return &state
}

// consumerListener wraps what it accepts.
type consumerListener struct {
	net.Listener
	gateway *Gateway
}

// Accept implements net.Listener.
func (l consumerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.gateway.traffic.opened()
	return newConsumerConn(conn, l.gateway), nil
}
