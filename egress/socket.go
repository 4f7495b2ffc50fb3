package egress

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/rawcall"
)

// outside is a connection to a server.
type outside interface {
	syscall.Conn
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
	SetDeadline(t time.Time) error
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	SetLinger(seconds int) error
	CloseWrite() error
	Close() error
}

var (
	_ outside         = (*socket)(nil)
	_ outside         = (*net.TCPConn)(nil)
	_ syscall.RawConn = (*socket)(nil)
)

// socket is a TCP connection that a connector makes, as far as it is used. It is no *net.TCPConn, because net takes over no descriptor but
// makes another one of it. Its methods may be called concurrently; Close must be called.
//
// The poller is told of it when it is used first, so that the program is answered before: the poller says at once that the socket may be written
// to, and wakes a thread for that. Where the poller does not take it, whoever would wait is told that it is closed.
type socket struct {
	fd            uintptr // for whoever makes it, until it is used
	local, remote netip.AddrPort

	once sync.Once
	file *os.File
	raw  syscall.RawConn
}

// options are those that net sets for connections of a dialer with a keep-alive of a minute.
var options = []struct {
	level, name int
	value       int32
}{
	{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
	{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 60},
	{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
	{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9},
}

// used tells the poller, once.
func (s *socket) used() *socket {
	s.once.Do(func() {
		for _, o := range options {
			_ = rawcall.SetOption(s.fd, o.level, o.name, o.value) // a connection without them is one
		}
		s.file = os.NewFile(s.fd, "tcp")
		s.raw, _ = s.file.SyscallConn() // an error is only for a file that is none
	})
	return s
}

// SyscallConn implements syscall.Conn.
func (s *socket) SyscallConn() (syscall.RawConn, error) { return s, nil }

// Control implements syscall.RawConn.
func (s *socket) Control(f func(fd uintptr)) error { return s.used().raw.Control(f) }

// Read implements syscall.RawConn.
func (s *socket) Read(f func(fd uintptr) (done bool)) error { return s.used().raw.Read(f) }

// Write implements syscall.RawConn.
func (s *socket) Write(f func(fd uintptr) (done bool)) error { return s.used().raw.Write(f) }

// LocalAddr is what it was when the connection was made, as net's is.
func (s *socket) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(s.local) }

// RemoteAddr is what was dialled.
func (s *socket) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.remote) }

// SetDeadline is for Read and Write.
func (s *socket) SetDeadline(t time.Time) error { return s.used().file.SetDeadline(t) }

// SetReadDeadline is for Read.
func (s *socket) SetReadDeadline(t time.Time) error { return s.used().file.SetReadDeadline(t) }

// SetWriteDeadline is for Write.
func (s *socket) SetWriteDeadline(t time.Time) error { return s.used().file.SetWriteDeadline(t) }

// SetLinger is net.TCPConn's, for 0 and more.
func (s *socket) SetLinger(seconds int) error {
	return s.call("setsockopt", func(fd uintptr) error {
		return unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: int32(seconds)})
	})
}

// CloseWrite tells the other side that nothing more comes.
func (s *socket) CloseWrite() error {
	return s.call("shutdown", func(fd uintptr) error { return rawcall.Shutdown(fd, unix.SHUT_WR) })
}

func (s *socket) call(name string, f func(fd uintptr) error) (err error) {
	if closed := s.Control(func(fd uintptr) { err = f(fd) }); closed != nil {
		return closed
	}
	return os.NewSyscallError(name, err)
}

// Close has whoever waits wait no more. A second one fails.
func (s *socket) Close() error { return s.used().file.Close() }
