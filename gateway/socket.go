package gateway

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"apibuilder/rawcall"
)

// unsentBytes is how much the kernel takes for a consumer beyond what is on its way to it. Without a bound it takes 4 MiB for one that
// reads nothing, out of the memory that all connections of the machine have in common (tcp_wmem and tcp_mem, tcp(7)). What is on its
// way is bounded by what the consumer and the network take, so that distant ones get their answers as fast as before.
const unsentBytes = 128 << 10

// socket is a connection whose reads and writes are not announced to Go's scheduler (see rawcall), because each announcement wakes a thread of
// a server that has little to do. It is safe for concurrent use; errors are those of net.
type socket struct {
	net.Conn
	raw  syscall.RawConn
	in   transfer
	out  transfer
	more []byte // to be written after what out has

	hurried atomic.Bool // reads do not wait, but fail with EAGAIN
}

// transfer is a read or a write that is under way. What the poller calls is made once.
type transfer struct {
	mu  sync.Mutex
	p   []byte // what is left of it
	err error
	try func(fd uintptr) (done bool)
}

// newSocket returns a *socket for connections of net, and others as they are.
func newSocket(conn net.Conn) net.Conn {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return conn
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return conn
	}
	s := &socket{Conn: conn, raw: raw}
	s.in.try, s.out.try = s.receive, s.send
	return s
}

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	t := &s.in
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p = p
	waited := s.raw.Read(t.try)
	n, err := len(p)-len(t.p), t.err
	t.p, t.err = nil, nil
	switch {
	case waited != nil:
		return 0, named(waited, "read")
	case err != nil:
		return 0, s.failed("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// await implements awaiter.
func (s *socket) await() { _ = s.raw.Read(isReady) }

func isReady(fd uintptr) bool { return !rawcall.Quiet(fd) }

func (s *socket) receive(fd uintptr) bool {
	t := &s.in
	var n int
	n, t.err = rawcall.Recv(fd, t.p)
	t.p = t.p[n:]
	return !rawcall.Waits(t.err) || s.hurried.Load()
}

// Write implements net.Conn.
func (s *socket) Write(p []byte) (int, error) {
	return s.write(p, nil)
}

// write writes both parts, with one call where the system takes so much.
func (s *socket) write(p, more []byte) (int, error) {
	t := &s.out
	t.mu.Lock()
	defer t.mu.Unlock()
	all := len(p) + len(more)
	t.p, s.more = p, more
	waited := s.raw.Write(t.try)
	n, err := all-len(t.p)-len(s.more), t.err
	t.p, t.err, s.more = nil, nil, nil
	switch {
	case waited != nil:
		return n, named(waited, "write")
	case err != nil:
		return n, s.failed("write", err)
	}
	return n, nil
}

func (s *socket) send(fd uintptr) bool {
	t := &s.out
	t.err = nil
	for {
		if len(t.p) == 0 {
			t.p, s.more = s.more, nil
		}
		var n int
		switch {
		case len(t.p) == 0:
			return true
		case len(s.more) == 0:
			n, t.err = rawcall.Send(fd, t.p)
		default:
			n, t.err = rawcall.Writev(fd, [][]byte{t.p, s.more[:min(len(s.more), copyBytes)]})
		}
		if t.err != nil {
			return !rawcall.Waits(t.err)
		}
		first := min(n, len(t.p))
		t.p, s.more = t.p[first:], s.more[n-first:]
	}
}

// CloseWrite is that of TCP and Unix sockets.
func (s *socket) CloseWrite() error { return s.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// SyscallConn implements syscall.Conn.
func (s *socket) SyscallConn() (syscall.RawConn, error) { return s.raw, nil }

// reset closes a TCP connection by a reset, as far as nothing was sent that has not arrived, and others as they are closed.
func (s *socket) reset() error {
	if tcp, ok := s.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return s.Close()
}

// named gives an error of the poller's the name of the call that waited.
//
//go:noinline for the stacks of connections that wait
func named(err error, call string) error {
	var op *net.OpError
	if errors.As(err, &op) {
		op.Op = call
	}
	return err
}

// failed is what net says of a system call that failed.
//
//go:noinline as above
func (s *socket) failed(call string, err error) error {
	local, remote := s.LocalAddr(), s.RemoteAddr()
	return &net.OpError{Op: call, Net: local.Network(), Source: local, Addr: remote, Err: os.NewSyscallError(call, err)}
}

// socketListener accepts sockets, in which little waits for consumers who do not read.
type socketListener struct{ net.Listener }

// Accept implements net.Listener.
func (l socketListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	ours := newSocket(conn)
	if s, ok := ours.(*socket); ok && conn.LocalAddr().Network() == "tcp" {
		_ = s.raw.Control(func(fd uintptr) { // a consumer who has gone already is no reason to stop
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes)
		})
	}
	return ours, nil
}
