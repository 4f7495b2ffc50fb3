package gateway

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// errNoAnswer says that a connection ended before a byte of the response.
var errNoAnswer = errors.New("the program closed the connection without an answer")

const programReadBytes = 2 << 10 // for heads and small bodies; large reads go past it

var (
	// programReaders are of connections that became WebSockets, which need none; those that are closed lose theirs.
	programReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, programReadBytes) }}
	// heads are for what is sent and read of heads: a connection that waits keeps none.
	heads = sync.Pool{New: func() any { return new([]byte) }}
)

// programConn is one connection to a program.
type programConn struct {
	conn  net.Conn
	raw   syscall.RawConn // nil: not a socket
	pool  *Transport
	r     *bufio.Reader // nil in a WebSocket that has read what came with the head
	since time.Time     // in the pool

	isQuiet bool
	peek    func(fd uintptr) bool // made once: it is called for each request
}

func newProgramConn(conn net.Conn, pool *Transport) *programConn {
	c := &programConn{conn: conn, pool: pool, r: programReaders.Get().(*bufio.Reader)}
	c.r.Reset(conn)
	if s, ok := conn.(syscall.Conn); ok {
		c.raw, _ = s.SyscallConn()
	}
	c.peek = func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		c.isQuiet = errors.Is(err, syscall.EAGAIN)
		return true
	}
	return c
}

// quiet reports whether an idle connection is open and has nothing to say. What a program sent without being asked
// would be taken for the answer to the next request.
func (c *programConn) quiet() bool {
	if c.r.Buffered() > 0 {
		return false
	}
	if c.raw == nil {
		return true
	}
	return c.raw.Read(c.peek) == nil && c.isQuiet
}
