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
	socket, ok := socketOf(c.Conn).(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	var ended bool
	err = raw.Control(func(fd uintptr) { ended = rawcall.Ready(fd, unix.POLLRDHUP) })
	return err == nil && ended
}

// unacknowledged counts the bytes that the consumer's side has not said it has taken; 0 where there is no socket to ask. As hungUp, it may be called
// concurrently with everything.
func (c *consumerConn) unacknowledged() (bytes int64) {
	socket, ok := socketOf(c.Conn).(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // an error: it is closed
		n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		if err == nil {
			bytes = int64(n)
		}
	})
	return bytes
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
