package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	readBytes   = 4 << 10
	bufferTime  = time.Second // an idle connection that nothing comes on keeps its buffer for so long
	mostDiscard = 256 << 10   // of a request's body that nobody has read, to keep the connection
)

const (
	stateIdle int32 = iota // no byte of a request has come
	stateActive
	stateClosed
)

var readBuffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBytes) }}

// http1 is one consumer's connection on which HTTP/1 is spoken: one request after the other, each read behind the guard, by net/http's
// parser unless it is plain.
type http1 struct {
	server *consumerServer
	conn   *consumerConn
	ctx    context.Context // of the connection
	remote string
	state  atomic.Int32

	r     *bufio.Reader // nil while a connection is idle for long
	one   [1]byte
	out   []byte // scratch for answers
	watch leaving
	away  bool // the connection belongs to somebody else

	second atomic.Pointer[http2Conn] // that speaks on the connection; nil: HTTP/1 does

	kept  bool      // alive, behind an answer or an empty line: what comes next may take longer than on a new connection
	ended time.Time // when the answer to the last one was whole, or nearly; zero: unknown

	stalls watchdog // of its exchanges, one after the other
}

func newHTTP1(s *consumerServer, conn *consumerConn) *http1 {
	c := &http1{server: s, conn: conn}
	c.ctx = withConn(context.Background(), conn)
	c.watch.conn = c
	return c
}

// serve owns the connection until its end.
func (c *http1) serve() {
	defer c.end()
	c.conn.awaitUntil(time.Now().Add(headerTimeout))
	if !c.handshake() {
		return
	}
	c.takeBuffer()
	for first := true; ; first = false {
		if !c.await() || !c.skipEmptyLine() {
			return
		}
		if first {
			c.remote = c.conn.RemoteAddr().String() // not before: what PROXY says comes with the first byte
			c.conn.client = addrOf(c.remote)
			if c.isSecond() {
				c.handOver()
				return
			}
		}
		w := c.read()
		if w == nil || !c.exchange(w) {
			return
		}
		w.free()
		c.kept = true
	}
}

// handshake is that of TLS, if there is to be one; false when it failed. It waits for the certificate, which may have to be obtained,
// however long that takes, so that the next one finds it, but not when the server closes. The consumer is not kept for so long.
func (c *http1) handshake() bool {
	secure, ok := c.conn.Conn.(*tls.Conn)
	if !ok {
		return true
	}
	late := time.AfterFunc(headerTimeout, func() { _ = c.conn.Close() })
	defer late.Stop()
	return secure.HandshakeContext(c.server.handshakes) == nil
}

func (c *http1) end() {
	c.server.remove(c)
	c.stalls.free()
	if !c.away {
		_ = c.conn.Close()
	}
	c.dropBuffer()
}

// takeBuffer makes sure that there is one.
func (c *http1) takeBuffer() {
	if c.r != nil {
		return
	}
	c.r = readBuffers.Get().(*bufio.Reader)
	c.r.Reset(c.conn)
}

func (c *http1) dropBuffer() {
	if c.r != nil {
		c.r.Reset(nil)
		readBuffers.Put(c.r)
		c.r = nil
	}
}

// await waits for the first byte of a request; false when there will be none that may be served.
func (c *http1) await() bool {
	if c.hasMore() {
		return !c.server.closing.Load()
	}
	c.state.Store(stateIdle)
	if c.server.closing.Load() {
		return false
	}
	if c.kept {
		if c.ended.IsZero() {
			c.ended = time.Now()
		}
		c.conn.awaitUntil(c.ended.Add(bufferTime))
	}
	_, err := c.r.Peek(1)
	if c.kept && errors.Is(err, os.ErrDeadlineExceeded) {
		err = c.awaitLong()
	}
	if err != nil {
		if word := c.conn.stopped(); word != "" {
			c.refuse(word)
		}
		return false
	}
	return c.state.CompareAndSwap(stateIdle, stateActive)
}

// awaitRest is called before what may wait for the rest of a head, of which something has come: nearly all come whole. For the first
// one the time runs since the connection was made.
func (c *http1) awaitRest() {
	if c.kept {
		c.conn.awaitUntil(time.Now().Add(headerTimeout))
	}
}

// skipEmptyLine passes over one before a request (RFC 9112, 2.2), which the guard allows once; false when no request follows it.
func (c *http1) skipEmptyLine() bool {
	const line = "\r\n"
	if begin, err := c.r.Peek(1); err != nil || begin[0] != line[0] {
		return true // whoever reads the request finds out
	}
	c.awaitRest()
	if begin, err := c.r.Peek(len(line)); err != nil || string(begin) != line {
		return true
	}
	_, _ = c.r.Discard(len(line)) // they are there
	c.kept = true
	return c.await()
}

// awaitLong waits without a buffer.
func (c *http1) awaitLong() error {
	c.out = nil
	c.conn.awaitUntil(time.Now().Add(keepAlive - bufferTime))
	err := c.awaitMore()
	c.takeBuffer()
	return err
}

// hasMore reports whether bytes of the next request have been read.
func (c *http1) hasMore() bool { return c.r.Buffered() > 0 || len(c.conn.replay) > 0 }

// awaitMore waits for the next byte of the connection without a buffer, which somebody else uses meanwhile. Where a byte is there, it
// will be read again. takeBuffer must follow; the body of the request before must have been read to its end.
func (c *http1) awaitMore() error {
	if c.hasMore() {
		return nil
	}
	c.dropBuffer()
	n, err := c.conn.Read(c.one[:])
	if n > 0 {
		c.conn.replay = c.one[:]
		return nil
	}
	return err
}

// isSecond reports whether the connection begins with the preface of HTTP/2 (RFC 9113, 3.4).
func (c *http1) isSecond() bool {
	const whole = preface + "\r\n" + restOfPreface
	for n := 1; n <= len(whole); n++ {
		p, err := c.r.Peek(n)
		if err != nil || p[n-1] != whole[n-1] {
			return false
		}
	}
	return true
}

func (c *http1) handOver() {
	second := newHTTP2Conn(c)
	second.greet()
	c.second.Store(second)
	if c.server.closing.Load() {
		second.shutdown()
	}
	if second.serve() != nil {
		c.linger()
	}
}

// read returns what answers the next request; nil when there is none, and an answer has said so if somebody can read it.
func (c *http1) read() *http1Response {
	w := newHTTP1Response(c)
	r, err := w.read()
	switch word := c.conn.stopped(); {
	case err != nil && word != "":
		c.refuse(word)
		return nil
	case err != nil && (isConnError(err) || c.conn.readDeadline.passed()): // what came of a line passes for all of it, see bufio.Reader.ReadLine
		return nil
	case err != nil, r.ProtoMajor != 1, !possibleHost(r.Host):
		c.refuse(wordBadRequest)
		return nil
	}
	if expected := r.Header["Expect"]; len(expected) > 0 && !hasToken(expected, "100-continue") {
		c.refuse(wordExpectationFailed)
		return nil
	}
	_ = c.conn.SetReadDeadline(time.Time{})
	_ = c.conn.SetWriteDeadline(time.Time{})
	r.RemoteAddr = c.remote
	return w
}

// isConnError reports whether a connection ended or stalled: there is nobody to be told.
func isConnError(err error) bool {
	if _, ok := errors.AsType[*url.Error](err); ok { // of the target, although it is a net.Error too
		return false
	}
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network) || errors.Is(err, net.ErrClosed)
}

// isExhausted reports whether there are no descriptors left.
func isExhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// possibleHost reports whether all characters of a Host field are such as one can have (RFC 3986, 3.2.2).
func possibleHost(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && strings.IndexByte("!$%&'()*+,-.:;=[]_~", c) < 0 {
			return false
		}
	}
	return true
}

// refuse answers what cannot be understood, and ends the connection.
func (c *http1) refuse(word string) {
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeGrace))
	if _, err := c.conn.Write(c.conn.problem(word)); err == nil {
		c.linger()
	}
}

// linger ends an answer without a reset while the consumer still sends, which would take the answer from it.
func (c *http1) linger() {
	if c.conn.CloseWrite() != nil {
		return
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(linger))
	buffer := copyBuffers.Get().(*[copyBytes]byte)
	defer copyBuffers.Put(buffer)
	for {
		if _, err := c.conn.Conn.Read(buffer[:]); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) || !c.conn.readDeadline.early() {
				return
			}
		}
	}
}

// exchange has a request answered; false when the connection is not to be used again.
func (c *http1) exchange(w *http1Response) bool {
	defer w.cancel()
	c.watch.begin(w)
	whole := c.handle(w)
	if !whole && !c.away {
		_ = c.conn.SetWriteDeadline(time.Now()) // for who looks, and would wait for a consumer who reads nothing: see awaitUntil
	}
	c.watch.stop()
	switch {
	case c.away:
		return false
	case !whole:
		if w.endsWithConn() {
			c.conn.reset()
		}
		return false
	}
	if err := w.finish(); err != nil {
		return false
	}
	c.ended = w.answer.ended
	unread := !w.body.settle()
	if w.close || unread {
		if unread || c.hasMore() {
			c.linger()
		}
		return false
	}
	return true
}

// handle calls the handler; false when it broke the answer off.
func (c *http1) handle(w *http1Response) (whole bool) {
	defer func() {
		p := recover()
		if err, ok := p.(error); p != nil && (!ok || !errors.Is(err, http.ErrAbortHandler)) {
			c.server.gateway.log.Error("panic", zap.Any("panic", p))
		}
		whole = p == nil
	}()
	c.server.handler.ServeHTTP(w, &w.request.Request)
	return true
}
