package gateway

import (
	"crypto/tls"
	"net"
	"syscall"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"

	"apibuilder/rawcall"
)

// hungUp reports whether the consumer has ended its side of the connection, although bytes that it sent before may not have been read.
// It reads nothing, and may be called concurrently with everything; false where there is no socket to ask.
func (c *consumerConn) hungUp() bool {
	var ended bool
	return c.ask(func(fd uintptr) { ended = rawcall.Ready(fd, unix.POLLRDHUP) }) && ended
}

// acknowledged counts the bytes that the consumer's side has said it has taken, as far as its socket knows; ok is false where there is none to ask. As hungUp,
// it may be called concurrently with everything.
func (c *consumerConn) acknowledged() (bytes int64, ok bool) {
	var info *unix.TCPInfo
	asked := c.ask(func(fd uintptr) {
		info, _ = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) // nil: it is no TCP
	})
	if !asked || info == nil {
		return 0, false
	}
	return int64(info.Bytes_acked), true //nolint:gosec // what a connection has sent
}

// ask calls f with the consumer's socket; false: there is none, or it is closed.
func (c *consumerConn) ask(f func(fd uintptr)) bool {
	socket, ok := socketOf(c.Conn).(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	return err == nil && raw.Control(f) == nil
}

// socketOf is what is below TLS and the PROXY protocol.
func socketOf(conn net.Conn) net.Conn {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if proxied, ok := conn.(*proxyproto.Conn); ok {
		conn = proxied.Raw()
	}
	return conn
}
