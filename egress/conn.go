package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"apibuilder/rawcall"
)

var _ net.Conn = (*Conn)(nil)

// mostAtOnce is the most that Read and Write move at once, in bytes.
const mostAtOnce = 256 << 10

// Conn is a connection that a guard made. Reads and writes are counted and held to the bandwidth. One reader and one writer
// may work at a time; Close must be called.
type Conn struct {
	conn    outside
	raw     syscall.RawConn
	guard   *Guard
	flow    *flow
	account *account
	tally   *Tally
	once    sync.Once
}

// connOf counts a connection that is among the guard's flows already. The guard is locked.
func (g *Guard) connOf(f *flow) *Conn {
	raw, _ := f.conn.SyscallConn() // an error is only for a connection that is none
	to := f.to.String()
	g.sums.opened(to)
	return &Conn{conn: f.conn, raw: raw, guard: g, flow: f, account: g.account, tally: g.account.opened(to)}
}

// moved counts bytes.
func (c *Conn) moved(sent, received int) {
	c.account.moved(c.tally, sent, received)
	c.flow.sent.Add(int64(sent))
	c.flow.received.Add(int64(received))
}

// Read implements io.Reader: what comes from outside.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.receive(b[:min(len(b), mostAtOnce)])
	if n > 0 {
		c.moved(0, n)
		_ = wait(c.flow.life, c.guard.incoming, n) // the next read tells
	}
	return n, err
}

// receive waits until there is something, and reads it.
func (c *Conn) receive(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	closed := c.raw.Read(func(fd uintptr) bool {
		n, err = rawcall.Recv(fd, b)
		return !rawcall.Waits(err)
	})
	switch {
	case closed != nil:
		return 0, over(closed)
	case err != nil:
		return 0, c.failed("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// send writes all of b, and waits where the system does not take it.
func (c *Conn) send(b []byte) (n int, err error) {
	closed := c.raw.Write(func(fd uintptr) bool {
		for n < len(b) && err == nil {
			var taken int
			taken, err = rawcall.Send(fd, b[n:])
			n += taken
		}
		if rawcall.Waits(err) {
			err = nil
			return false
		}
		return true
	})
	if closed != nil {
		return n, over(closed)
	}
	if err != nil {
		return n, c.failed("write", err)
	}
	return n, nil
}

// over is why a connection is waited for no more: its deadline, or net.ErrClosed, for which files have another word.
func over(closed error) error {
	if errors.Is(closed, os.ErrDeadlineExceeded) {
		return closed
	}
	return net.ErrClosed
}

// failed is what net says of a system call that failed.
func (c *Conn) failed(call string, err error) error {
	return &net.OpError{
		Op: call, Net: "tcp", Source: c.conn.LocalAddr(), Addr: c.conn.RemoteAddr(), Err: os.NewSyscallError(call, err),
	}
}

// Write implements io.Writer: what the program sends.
func (c *Conn) Write(b []byte) (written int, err error) {
	for len(b) > 0 && err == nil {
		part := b[:min(len(b), mostAtOnce)]
		if err = wait(c.flow.life, c.guard.sending, len(part)); err != nil {
			return written, err
		}
		var n int
		n, err = c.send(part)
		c.moved(n, 0)
		written += n
		b = b[n:]
	}
	return written, err
}

// WriteNow writes what the system takes of b without waiting, which may be nothing. It is neither counted nor held to the bandwidth:
// tell Wrote before more than 256 KiB are written so.
func (c *Conn) WriteNow(b []byte) (n int, err error) {
	closed := c.raw.Write(func(fd uintptr) bool {
		n, err = rawcall.Send(fd, b)
		return true
	})
	if rawcall.Waits(err) {
		err = nil
	}
	return n, errors.Join(closed, err)
}

// Wrote counts n bytes that were written by WriteNow, at most 256 Ki, and waits as Write does before it writes them.
func (c *Conn) Wrote(n int) {
	c.moved(n, 0)
	_ = wait(c.flow.life, c.guard.sending, n) // the next write tells
}

// Writable waits until WriteNow may write something.
func (c *Conn) Writable() error {
	return c.raw.Write(func(fd uintptr) bool { return rawcall.Ready(fd, unix.POLLOUT) })
}

// Arrived waits until Read would not wait, and returns how many bytes it has at least; 0 where only Read can tell, as at the end of
// what comes.
func (c *Conn) Arrived() (n int, err error) {
	closed := c.raw.Read(func(fd uintptr) bool {
		n, err = rawcall.Arrived(fd)
		return n > 0 || err != nil || rawcall.Ready(fd, unix.POLLIN)
	})
	return n, errors.Join(closed, err)
}

// CloseWrite tells the other side that nothing more comes.
func (c *Conn) CloseWrite() error { return c.conn.CloseWrite() }

// Taken returns how many bytes the other side's system has taken, and how many of those written it has not.
func (c *Conn) Taken() (taken uint64, left int, err error) {
	closed := c.raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			taken = info.Bytes_acked
			left, err = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) // SIOCOUTQ, tcp(7)
		}
	})
	return taken, left, errors.Join(closed, err)
}

// BoundBuffers bounds what the system holds of the connection, each way, to some bytes and as much again for what it keeps beside them (SO_RCVBUF
// and SO_SNDBUF, socket(7)). It grows its buffers otherwise, up to tcp_rmem and tcp_wmem (tcp(7)).
func (c *Conn) BoundBuffers(bytes int) error {
	var err error
	closed := c.raw.Control(func(fd uintptr) {
		err = errors.Join(rawcall.SetOption(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, int32(bytes)), rawcall.SetOption(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, int32(bytes)))
	})
	return errors.Join(closed, err)
}

// OnEnd calls f once in a goroutine of its own when the connection is ended, by Close, by its guard, or when it was before. Stop has f not
// called any more, and reports whether it does so: false where f was called, or is called now.
func (c *Conn) OnEnd(f func()) (stop func() bool) { return context.AfterFunc(c.flow.life, f) }

// Ended is closed when the connection is ended, by Close or by its guard.
func (c *Conn) Ended() <-chan struct{} { return c.flow.life.Done() }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline implements net.Conn. A wait for the bandwidth is not bounded by it.
func (c *Conn) SetDeadline(t time.Time) error { return c.conn.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }

// Abort ends the connection with a reset.
func (c *Conn) Abort() {
	_ = c.conn.SetLinger(0)
	_ = c.Close()
}

// Close ends the connection. It may be called twice.
func (c *Conn) Close() error {
	err := c.conn.Close()
	c.once.Do(func() {
		c.guard.forget(c.flow)
		c.account.closed()
	})
	return err
}

// wait holds a flow to its bandwidth, and is net.ErrClosed when it is ended; n is at most the limiter's burst, so that it is never refused.
func wait(life context.Context, l *rate.Limiter, n int) error {
	if l.Limit() != rate.Inf && l.WaitN(life, n) != nil {
		return net.ErrClosed
	}
	return nil
}
