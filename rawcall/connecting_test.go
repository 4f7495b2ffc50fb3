package rawcall

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestConnecting connects to a server of this host, by IPv4 and IPv6, and to nobody.
func TestConnecting(t *testing.T) {
	for network, own := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"} {
		l, err := net.Listen(network, own)
		if err != nil {
			t.Fatal(err)
		}
		to := l.Addr().(*net.TCPAddr).AddrPort()
		family := map[string]int{"tcp4": unix.AF_INET, "tcp6": unix.AF_INET6}[network]
		fd, err := Socket(family)
		if err != nil {
			t.Fatal(err)
		}
		if err := SetOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			t.Errorf("%s: %v", network, err)
		}
		if err := SetOption(fd, unix.IPPROTO_TCP, -1, 1); !errors.Is(err, unix.ENOPROTOOPT) {
			t.Errorf("%s: no option: %v", network, err)
		}
		connected(t, fd, to)
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if local, err := Local(fd); err != nil || local != server.RemoteAddr().(*net.TCPAddr).AddrPort() {
			t.Errorf("%s: %v, %v, and the server sees %v", network, local, err, server.RemoteAddr())
		}
		if err := Shutdown(fd, unix.SHUT_WR); err != nil {
			t.Errorf("%s: %v", network, err)
		}
		if n, err := server.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%s: %d bytes, %v", network, n, err)
		}
		_, _, _ = unix.Close(int(fd)), server.Close(), l.Close()

		if fd, err = Socket(family); err != nil {
			t.Fatal(err)
		}
		if err := Connect(fd, to, 0); err == nil || errors.Is(err, unix.EINPROGRESS) && !errors.Is(Connect(fd, to, 0), unix.ECONNREFUSED) {
			t.Errorf("%s: nobody listens: %v", network, err)
		}
		if err := Shutdown(fd, unix.SHUT_WR); !errors.Is(err, unix.ENOTCONN) {
			t.Errorf("%s: no connection: %v", network, err)
		}
		_ = unix.Close(int(fd))
	}
	if _, err := Local(^uintptr(0) >> 33); !errors.Is(err, unix.EBADF) {
		t.Errorf("no descriptor: %v", err)
	}
	if _, err := Socket(-1); !errors.Is(err, unix.EAFNOSUPPORT) {
		t.Errorf("no family: %v", err)
	}
}

// connected connects; over loopback the server's system has answered before the first call returns.
func connected(t *testing.T, fd uintptr, to netip.AddrPort) {
	t.Helper()
	err := Connect(fd, to, 0)
	for errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.EALREADY) {
		err = Connect(fd, to, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
}
