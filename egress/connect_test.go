package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"apibuilder/internal/nettest"
)

var anything = connector{decide: func(netip.Addr) error { return nil }}

// sockets is how many this process has.
func sockets(t *testing.T) (n int) {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if target, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

// awaitUnderway waits until so many connections are being made.
func awaitUnderway(t *testing.T, count int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		now := 0
		for _, table := range []string{"tcp", "tcp6"} {
			text, err := os.ReadFile("/proc/thread-self/net/" + table)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				if f := strings.Fields(line); len(f) > 3 && f[3] == "02" { // SYN-SENT
					now++
				}
			}
		}
		if now == count {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are being made, not %d", now, count)
		}
	}
}

// TestConnect makes connections, and does not, in a network that has what it takes. Nothing is left of those that are not made.
func TestConnect(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	const host, host6 = "93.184.216.34", "2606:2800::1"
	w := nettest.NewWorld(t, host+"/32", host6+"/128")
	l, l6 := w.Listen(host+":443"), w.Listen("["+host6+"]:443")
	for _, l := range []net.Listener{l, l6} {
		go nettest.Echo(l)
	}
	w.Do(func() { // IPv6 says otherwise that there is no way to who is not there
		_, all, _ := net.ParseCIDR("2606:2800::/64")
		if err := netlink.RouteAdd(&netlink.Route{Dst: all, Type: unix.RTN_BLACKHOLE}); err != nil {
			t.Error(err)
		}
	})
	t.Run("errors are those of net", errorsOfNet)
	t.Run("canceled", canceled)
	t.Run("answered late", func(t *testing.T) { answeredLate(t, w) })
	t.Run("decided against", func(t *testing.T) { decidedAgainst(t, w) })
	t.Run("to itself", toItself)
	t.Run("a thousand", func(t *testing.T) { aThousand(t, l.Addr().String(), l6.Addr().String()) }) // the first that has servers' sockets here, which end later
	t.Run("options are those of net", func(t *testing.T) { optionsOfNet(t, l.Addr().String()) })
}

// errorsOfNet compares with what net.Dialer says of the same addresses.
func errorsOfNet(t *testing.T) {
	route := func(to string, kind int) {
		_, all, err := net.ParseCIDR(to)
		if err == nil {
			err = netlink.RouteAdd(&netlink.Route{Dst: all, Type: kind})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	route("93.184.219.0/24", unix.RTN_UNREACHABLE)
	route("93.184.220.0/24", unix.RTN_PROHIBIT)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	before := sockets(t)
	for name, c := range map[string]struct {
		ctx    context.Context
		to     string
		within time.Duration
		is     error
	}{
		"refused":              {t.Context(), "93.184.216.34:444", time.Minute, syscall.ECONNREFUSED},
		"refused by IPv6":      {t.Context(), "[2606:2800::1]:444", time.Minute, syscall.ECONNREFUSED},
		"unreachable":          {t.Context(), "93.184.219.1:443", time.Minute, syscall.EHOSTUNREACH},
		"prohibited":           {t.Context(), "93.184.220.1:443", time.Minute, syscall.EACCES},
		"silent":               {t.Context(), "93.184.216.99:443", 50 * time.Millisecond, os.ErrDeadlineExceeded},
		"silent by IPv6":       {t.Context(), "[2606:2800::99]:443", 50 * time.Millisecond, os.ErrDeadlineExceeded},
		"canceled":             {over, "93.184.216.34:443", time.Minute, errCanceled},
		"a mapped address":     {t.Context(), "[::ffff:93.184.216.34]:444", time.Minute, syscall.ECONNREFUSED},
		"no link of that zone": {t.Context(), "[fe80::1%none]:443", time.Minute, nil},
		"a link without zone":  {t.Context(), "[fe80::1]:443", time.Minute, syscall.EINVAL},
	} {
		_, err := anything.connect(c.ctx, netip.MustParseAddrPort(c.to), c.within)
		_, want := (&net.Dialer{Timeout: c.within}).DialContext(c.ctx, "tcp", c.to)
		if err == nil || want == nil || c.is != nil && !errors.Is(err, c.is) || c.is != nil && err.Error() != want.Error() {
			t.Errorf("%s: %v, and net.Dialer says %v", name, err, want)
		}
		if a, b := net.Error(nil), net.Error(nil); errors.As(err, &a) && errors.As(want, &b) && a.Timeout() != b.Timeout() {
			t.Errorf("%s: a timeout: %v, of net.Dialer %v", name, a.Timeout(), b.Timeout())
		}
	}
	if now := sockets(t); now != before {
		t.Errorf("%d sockets are left", now-before)
	}
}

func optionsOfNet(t *testing.T, address string) {
	ours, err := anything.connect(t.Context(), netip.MustParseAddrPort(address), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs, err := (&net.Dialer{KeepAlive: time.Minute}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	read := func(c syscall.Conn) (all [10]int) {
		raw, _ := c.SyscallConn()
		_ = raw.Control(func(fd uintptr) {
			all[0], _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
			all[1], _ = unix.FcntlInt(fd, unix.F_GETFL, 0)
			all[2], _ = unix.FcntlInt(fd, unix.F_GETFD, 0)
			for i, o := range []int{unix.TCP_NODELAY, unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT, unix.TCP_USER_TIMEOUT, unix.TCP_LINGER2, unix.TCP_SYNCNT} {
				all[3+i], _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, o)
			}
		})
		return all
	}
	if ours, theirs := read(ours), read(theirs.(*net.TCPConn)); ours != theirs {
		t.Errorf("%v, and net.Dialer sets %v", ours, theirs)
	}
}

// canceled has contexts end, one way and the other, while servers say nothing.
func canceled(t *testing.T) {
	before := sockets(t)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 10 {
		to := netip.MustParseAddrPort([]string{"93.184.216.99:443", "[2606:2800::99]:443"}[i%2])
		all.Go(func() {
			if s, err := anything.connect(ctx, to, time.Minute); !errors.Is(err, errCanceled) || s != nil {
				t.Errorf("%s: %v", to, err)
			}
		})
	}
	awaitUnderway(t, 10)
	cancel()
	all.Wait()
	if now := sockets(t); now != before {
		t.Errorf("%d sockets are left", now-before)
	}
	awaitUnderway(t, 0)
}

// answeredLate has addresses come to be while connections to them are made.
func answeredLate(t *testing.T, w *nettest.World) {
	l := w.Listen(":446")
	defer l.Close()
	before := sockets(t)
	var all sync.WaitGroup
	for _, host := range []string{"93.184.216.50", "2606:2800::50"} {
		all.Go(func() {
			to := net.JoinHostPort(host, "446")
			s, err := anything.connect(t.Context(), netip.MustParseAddrPort(to), time.Minute)
			if err != nil {
				t.Errorf("%s: %v", to, err)
				return
			}
			defer s.Close()
			if s.LocalAddr().String() == to || s.RemoteAddr().String() != to {
				t.Errorf("%v to %v, not to %s", s.LocalAddr(), s.RemoteAddr(), to)
			}
		})
		all.Go(func() {
			to := net.JoinHostPort(host, "447")
			if _, err := anything.connect(t.Context(), netip.MustParseAddrPort(to), time.Minute); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: %v", to, err)
			}
		})
	}
	awaitUnderway(t, 4)
	w.Do(func() {
		link, err := netlink.LinkByName("world0")
		for _, text := range []string{"93.184.216.50/32", "2606:2800::50/128"} {
			a, _ := netlink.ParseAddr(text)
			a.Flags = unix.IFA_F_NODAD
			err = errors.Join(err, netlink.AddrAdd(link, a))
		}
		if err != nil {
			t.Error(err)
		}
	})
	all.Wait() // for the systems' next try, a second after the first
	if now := sockets(t); now != before {
		t.Errorf("%d sockets are left", now-before)
	}
}

// decidedAgainst has no packet leave for an address that is decided against, and what is decided about is what would be dialled.
func decidedAgainst(t *testing.T, w *nettest.World) {
	const host = "93.184.216.34"
	l := w.Listen(host + ":445")
	defer l.Close()
	before := sockets(t)
	refusal := &Refusal{Reason: Never}
	for _, err := range []error{refusal, io.ErrNoProgress} {
		for _, to := range []string{host + ":445", "[::ffff:" + host + "]:445"} {
			var asked []netip.Addr
			c := connector{decide: func(a netip.Addr) error {
				asked = append(asked, a)
				return err
			}}
			if _, got := c.connect(t.Context(), netip.MustParseAddrPort(to), time.Minute); !errors.Is(got, err) {
				t.Errorf("%s: %v", to, got)
			}
			if len(asked) != 1 || asked[0].String() != host {
				t.Errorf("%s: %v was decided about", to, asked)
			}
		}
	}
	if now := sockets(t); now != before {
		t.Errorf("%d sockets are left", now-before)
	}
	_ = l.(*net.TCPListener).SetDeadline(time.Now())
	if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection that was decided against: %v", err)
	}
}

// aThousand makes connections beside one another through a guard, and ends each by halves.
func aThousand(t *testing.T, addresses ...string) {
	gate := NewGate(Config{Ceiling: &Ceiling{Most: mustParse(t, "internet")}, Limits: Limits{PerSecond: -1}})
	guard, _ := bind(t, gate, "internet")
	gate.cfg.Ceiling.host.have(netip.MustParseAddrPort(addresses[0]).Addr()) // its socket for routes is kept
	before := sockets(t)
	var all sync.WaitGroup
	for i := range 20 {
		to := netip.MustParseAddrPort(addresses[i%len(addresses)])
		all.Go(func() {
			for n := range 50 {
				said := fmt.Sprintf("%d of %d", n, i)
				conn, err := guard.Dial(t.Context(), Destination{Addr: to.Addr(), Port: to.Port()})
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = conn.Write([]byte(said))
				_ = conn.CloseWrite()
				if heard, err := io.ReadAll(conn); string(heard) != said || err != nil {
					t.Errorf("%q, %v", heard, err)
				}
				_ = conn.Close()
			}
		})
	}
	all.Wait()
	if r := gate.Report("api"); r.Connections != 1000 || r.Open != 0 {
		t.Errorf("%d connections, %d open", r.Connections, r.Open)
	}
	for deadline := time.Now().Add(10 * time.Second); sockets(t) > before; time.Sleep(time.Millisecond) { // those of the servers end by themselves
		if time.Now().After(deadline) {
			t.Fatalf("%d sockets are left", sockets(t)-before)
		}
	}
}

// toItself dials a port of this host where nobody listens while the kernel has no other to give.
func toItself(t *testing.T) {
	const ports = "/proc/sys/net/ipv4/ip_local_port_range"
	all, err := os.ReadFile(ports)
	if err == nil {
		err = os.WriteFile(ports, []byte("40000 40000"), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.WriteFile(ports, all, 0); err != nil {
			t.Error(err)
		}
	}()
	for _, to := range []string{"127.0.0.1:40000", "[::1]:40000"} {
		before := sockets(t)
		_, err := anything.connect(t.Context(), netip.MustParseAddrPort(to), time.Minute)
		if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EADDRNOTAVAIL) || sockets(t) != before { // the second while the first is in TIME-WAIT
			t.Errorf("%s: %v, %d sockets are left", to, err, sockets(t)-before)
		}
	}
}

// TestHalves has a server, and a program, say that they send no more, and be sent something all the same.
func TestHalves(t *testing.T) {
	l, port, ceiling := listen(t)
	gate := NewGate(Config{Ceiling: ceiling})
	guard, _ := bind(t, gate, fmt.Sprintf("127.0.0.1:%d", port))
	for _, first := range []string{"program", "server"} {
		conn, server := meet(t, guard, l, port)
		var a, b interface {
			net.Conn
			CloseWrite() error
		} = conn, server.(*net.TCPConn)
		if first == "server" {
			a, b = b, a
		}
		if err := a.CloseWrite(); err != nil {
			t.Errorf("%s: %v", first, err)
		}
		if n, err := b.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%s: %d bytes, %v", first, n, err)
		}
		if _, err := b.Write([]byte("still")); err != nil {
			t.Errorf("%s: %v", first, err)
		}
		if err := b.CloseWrite(); err != nil {
			t.Errorf("%s: %v", first, err)
		}
		if heard, err := io.ReadAll(a); string(heard) != "still" || err != nil {
			t.Errorf("%s: %q, %v", first, heard, err)
		}
		_, _ = conn.Close(), server.Close()
		if err := conn.CloseWrite(); err == nil {
			t.Errorf("%s: a closed connection is half closed", first)
		}
	}
}

// TestWaitsEnd has a deadline, and Close, end a wait for a server that says nothing, in net's words.
func TestWaitsEnd(t *testing.T) {
	l, port, ceiling := listen(t)
	gate := NewGate(Config{Ceiling: ceiling})
	guard, _ := bind(t, gate, fmt.Sprintf("127.0.0.1:%d", port))
	conn, server := meet(t, guard, l, port)
	defer server.Close()
	_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := conn.Read(make([]byte, 1))
	if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("after its deadline: %v", err)
	}
	_ = conn.SetDeadline(time.Time{})
	if conn.RemoteAddr().String() != l.Addr().String() || conn.LocalAddr().String() != server.RemoteAddr().String() {
		t.Errorf("%v to %v, and the server sees %v", conn.LocalAddr(), conn.RemoteAddr(), server.RemoteAddr())
	}
	read := make(chan error)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		read <- err
	}()
	_ = conn.Close()
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed connection: %v", err)
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed connection: %v", err)
	}
}
