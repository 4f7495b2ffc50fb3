package gateway

import (
	"bufio"
	"errors"
	"net"
	"syscall"
	"time"
)

// errNoAnswer says that a connection ended before a byte of the response.
var errNoAnswer = errors.New("the program closed the connection without an answer")

const programReadBytes = 2 << 10 // for heads and small bodies; large reads go past it

// programConn is one connection to a program.
type programConn struct {
	conn  net.Conn
	raw   syscall.RawConn // nil: not a socket
	pool  *Transport
	r     *bufio.Reader
	head  []byte    // of the request being written and of the response being read, kept for its capacity
	since time.Time // in the pool

	isQuiet bool
	peek    func(fd uintptr) bool // made once: it is called for each request
}

func newProgramConn(conn net.Conn, pool *Transport) *programConn {
	c := &programConn{conn: conn, pool: pool, r: bufio.NewReaderSize(conn, programReadBytes)}
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
