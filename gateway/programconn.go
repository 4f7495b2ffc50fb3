package gateway

import (
	"bufio"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"apibuilder/rawcall"
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

// errSpoke says that a program said something that nobody had asked for, or left. Nothing was sent to it.
var errSpoke = errors.New("the program's connection is not quiet")

// programConn is one connection to a program.
type programConn struct {
	conn  net.Conn
	raw   syscall.RawConn // nil: not a socket
	pool  *Transport
	r     *bufio.Reader // nil in a WebSocket that has read what came with the head
	since time.Time     // in the pool
	used  bool          // an exchange has ended well on it

	isQuiet bool
	look    func(fd uintptr) bool // these two are made once: one of them is called for each request
	ask     func(fd uintptr) bool
	asking  question
}

// question is a request that is asked.
type question struct {
	rest   []byte // that was not sent
	waits  bool   // for the first byte of the answer
	failed error
}

func newProgramConn(conn net.Conn, pool *Transport) *programConn {
	c := &programConn{conn: conn, pool: pool, r: programReaders.Get().(*bufio.Reader)}
	c.r.Reset(conn)
	if s, ok := conn.(syscall.Conn); ok {
		c.raw, _ = s.SyscallConn()
	}
	c.look, c.ask = c.lookAt, c.askOn
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
	return c.raw.Read(c.look) == nil && c.isQuiet
}

// await implements awaiter.
func (c *programConn) await() {
	if c.raw != nil && (c.r == nil || c.r.Buffered() == 0) {
		_ = c.raw.Read(isReady)
	}
}

func (c *programConn) lookAt(fd uintptr) bool {
	c.isQuiet = rawcall.Quiet(fd)
	return true
}

// exchange sends all that there is of a request, and waits for the first byte of the answer; errSpoke where a used connection was
// not quiet. It does so within one read of the connection's poller, which forgets what was before: the look comes after that and
// before the request, so the poller tells of the answer for certain, and no read has to find out that there is none yet.
func (c *programConn) exchange(request []byte) error {
	if c.used && c.r.Buffered() > 0 {
		return errSpoke
	}
	if c.raw == nil {
		_, err := c.conn.Write(request)
		return err
	}
	c.asking = question{rest: request}
	err := c.raw.Read(c.ask)
	q := c.asking
	c.asking = question{}
	switch {
	case q.failed != nil:
		return q.failed
	case q.waits: // an error of the wait is the next read's too
		return nil
	case err != nil:
		return err
	case len(q.rest) == 0:
		return nil
	}
	_, err = c.conn.Write(q.rest) // the program is slow to read
	return err
}

// askOn is called until it returns true, the second time when there is something to read.
func (c *programConn) askOn(fd uintptr) bool {
	q := &c.asking
	if q.waits {
		return true
	}
	c.lookAt(fd)
	if c.used && !c.isQuiet {
		q.failed = errSpoke
		return true
	}
	n, err := rawcall.Send(fd, q.rest)
	switch {
	case err == nil:
		q.rest = q.rest[n:]
	case !rawcall.Waits(err):
		q.failed = os.NewSyscallError("write", err)
		return true
	}
	q.waits = c.isQuiet && len(q.rest) == 0
	return !q.waits
}
