package netstack_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"apibuilder/egress"
	"apibuilder/egress/netns"
	"apibuilder/egress/netstack"
	"apibuilder/internal/nettest"
)

// inside is a program in a sandbox's network namespace, without the sandbox.
type inside struct {
	t     *testing.T
	work  chan func()
	space *os.File // the namespace
	guard *egress.Guard
	gate  *egress.Gate
	lines chan string
}

// enter makes a network with a policy, and a thread in it.
func enter(t *testing.T, cfg egress.Config, policy string) *inside {
	t.Helper()
	return enterBy(t, egress.NewGate(cfg), policy)
}

// enterBy is enter for one of many sandboxes.
func enterBy(t *testing.T, gate *egress.Gate, policy string) *inside {
	t.Helper()
	n, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	in := &inside{t: t, work: make(chan func()), space: n.File, guard: gate.Guard(), gate: gate, lines: make(chan string, 1000)}
	in.guard.Bind("api", parse(t, policy), 0, func(line string) { in.lines <- line })
	network, err := netstack.Start(n.Device, in.guard)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Setns(int(n.File.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Errorf("enter: %v", err)
		}
		for f := range in.work {
			f()
		}
	}()
	t.Cleanup(func() {
		close(in.work)
		<-done
		_ = n.File.Close()
		network.Close()
		network.Close()
	})
	return in
}

func parse(t *testing.T, text string) egress.Policy {
	t.Helper()
	p, err := egress.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (in *inside) do(f func()) {
	done := make(chan struct{})
	in.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// resolver asks as the sandbox's C library would.
func (in *inside) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		in.do(func() { conn, err = net.Dial("udp", hostPort(netns.Outside.String(), 53)) })
		return conn, err
	}}
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, fmt.Sprint(port)) }

// connect resolves a name inside and connects to it.
func (in *inside) connect(host string, port int) (net.Conn, error) {
	if net.ParseIP(host) == nil {
		found, err := in.resolver().LookupHost(in.t.Context(), host+".")
		if err != nil {
			return nil, err
		}
		host = found[0]
	}
	network := "tcp"
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() && !a.Is4In6() {
		network = "tcp6" // to "::", "tcp" would connect over IPv4 as well, and from other threads
	}
	var conn net.Conn
	var err error
	in.do(func() { conn, err = net.DialTimeout(network, hostPort(host, port), 10*time.Second) })
	return conn, err
}

// dialThere connects to an address from a thread of its own, so that many may do so at a time.
func (in *inside) dialThere(address string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		if err = unix.Setns(int(in.space.Fd()), unix.CLONE_NEWNET); err == nil {
			conn, err = net.DialTimeout("tcp", address, 10*time.Second)
		}
	}()
	<-done
	return conn, err
}

// line waits for a line that the author reads.
func (in *inside) line(want string) {
	in.t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case line := <-in.lines:
			if strings.Contains(line, want) {
				return
			}
			in.t.Logf("another line: %s", line)
		case <-timeout:
			in.t.Fatalf("no line with %q came", want)
		}
	}
}

func TestNetwork(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	w := nettest.NewWorld(t, "93.184.216.34/32", "2606:2800::1/128", "169.254.169.254/32", "10.9.8.7/32", "9.9.9.9/32")
	go nettest.Echo(w.Listen("93.184.216.34:443"))
	go nettest.Echo(w.Listen("[2606:2800::1]:443"))
	go nettest.Echo(w.Listen("169.254.169.254:80"))
	go nettest.Echo(w.Listen("10.9.8.7:5432"))
	names := nettest.NewNames(w, "9.9.9.9:53", map[string][]string{
		"api.example.com": {"93.184.216.34"}, "six.example.com": {"2606:2800::1"}, "both.example.com": {"93.184.216.34", "2606:2800::1"},
		"db.internal": {"10.9.8.7"}, "liar.example.com": {"169.254.169.254"}, "own.example.com": {nettest.Host},
		"local.example.com": {"127.0.0.1"}, "mixed.example.com": {"10.9.8.7", "93.184.216.34"},
	})
	private, err := egress.ParseRules("10.9.8.0/24:5432")
	if err != nil {
		t.Fatal(err)
	}
	before := goleak.IgnoreCurrent()
	cfg := egress.Config{Ceiling: &egress.Ceiling{Most: parse(t, "internet"), Private: private}, Resolver: names.Resolver()}
	t.Run("speaks", func(t *testing.T) {
		in := enter(t, cfg, "*.example.com:443, db.internal:5432, 93.184.216.34:443, [2606:2800::1]:443, 10.9.8.7:5432")
		for _, to := range []struct {
			host string
			port int
		}{
			{"api.example.com", 443},
			{"six.example.com", 443},
			{"both.example.com", 443},
			{"mixed.example.com", 443},
			{"db.internal", 5432},
			{"93.184.216.34", 443},
			{"2606:2800::1", 443},
			{"10.9.8.7", 5432},
		} {
			speak(t, in, to.host, to.port)
		}
		r := in.gate.Report("api")
		if r.Connections != 8 || r.Sent != r.Received || r.Sent < 8<<20 {
			t.Errorf("the report is %+v", r)
		}
	})
	t.Run("refuses", func(t *testing.T) {
		in := enter(t, cfg, "internet, liar.example.com:80, own.example.com:22, local.example.com:22, 169.254.169.254:80, db.internal:80")
		for _, c := range []struct {
			host string
			port int
			line string
		}{
			{"169.254.169.254", 80, "egress refused: 169.254.169.254:80 is never allowed (a cloud's metadata service)"},
			{"liar.example.com", 80, "liar.example.com:80 has the address 169.254.169.254, which is never allowed"},
			{"own.example.com", 22, "own.example.com:22 has the address 5.5.5.1, which is never allowed (this host)"},
			{"local.example.com", 22, "127.0.0.1, which is never allowed (loopback)"},
			{nettest.Host, 22, "never allowed (this host)"},
			{"db.internal", 80, "never allowed (private)"},
			{"192.168.1.1", 80, "never allowed (private)"},
			{"fd00:ec2::254", 80, "metadata"},
			{"198.18.77.77", 80, "stands for no name"},
		} {
			began := time.Now()
			conn, err := in.connect(c.host, c.port)
			if err == nil {
				conn.Close()
				t.Errorf("%s:%d is reached", c.host, c.port)
				continue
			}
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s:%d: %v", c.host, c.port, err)
			}
			t.Logf("%s refused in %v", c.host, time.Since(began))
			in.line(c.line)
		}
		if _, err := in.resolver().LookupHost(t.Context(), "nowhere.example.org."); err == nil {
			t.Error("a name that does not exist is found")
		}
	})
	t.Run("lists", func(t *testing.T) {
		in := enter(t, cfg, "api.example.com:443")
		if _, err := in.resolver().LookupHost(t.Context(), "six.example.com."); err == nil {
			t.Error("a name that is not listed is found")
		}
		in.line("egress refused: six.example.com is not in the API's option egress")
		if _, err := in.connect("93.184.216.34", 443); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the address of a listed name: %v", err)
		}
		in.line("93.184.216.34:443 is not in the API's option egress")
		if _, err := in.connect("api.example.com", 80); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("another port: %v", err)
		}
		in.line("api.example.com:80 is not in the API's option egress")
	})
	t.Run("changes", func(t *testing.T) {
		in := enter(t, cfg, "api.example.com:443, both.example.com:443")
		kept, ended := open(t, in, "both.example.com"), open(t, in, "api.example.com")
		in.gate.Set("api", parse(t, "both.example.com:443"))
		if _, err := ended.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a connection that is not allowed any more: %v", err)
		}
		ping(t, kept)
		if _, err := in.connect("api.example.com", 443); err == nil {
			t.Error("a new one is made")
		}
	})
	t.Run("rebinding", func(t *testing.T) {
		in := enter(t, cfg, "rebind.example.com:80, rebind.example.com:443")
		names.Change(func(_ string, times int) []nip {
			if times == 0 {
				return []nip{addr("93.184.216.34")}
			}
			return []nip{addr("169.254.169.254")}
		})
		defer names.Change(nil)
		if _, err := in.connect("rebind.example.com", 80); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("rebinding: %v", err)
		}
		in.line("has the address 169.254.169.254, which is never allowed")
	})
	goleak.VerifyNone(t, before)
}

// TestDatagramsAreRefused has a program that may reach everything send datagrams, over IPv4 and IPv6, to servers that would take them.
func TestDatagramsAreRefused(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	outside := []string{"93.184.216.34", "2606:2800::1", "169.254.169.254", "fd00:ec2::254", "10.9.8.7", "fd00::7"}
	addresses := []string{"9.9.9.9/32"}
	for _, host := range outside {
		addresses = append(addresses, netip.PrefixFrom(addr(host), addr(host).BitLen()).String())
	}
	w := nettest.NewWorld(t, addresses...)
	reached := make(chan string, 100)
	for _, host := range outside {
		go tellDatagrams(w.ListenPacket(hostPort(host, 123)), reached)
	}
	for _, own := range []string{nettest.Host, nettest.Host6, "127.0.0.1", "::1"} {
		conn, err := net.ListenPacket("udp", hostPort(own, 123))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		go tellDatagrams(conn, reached)
	}
	names := nettest.NewNames(w, "9.9.9.9:53", map[string][]string{"api.example.com": {"93.184.216.34"}, "six.example.com": {"2606:2800::1"}})
	private, err := egress.ParseRules("10.9.8.7:123, [fd00::7]:123")
	if err != nil {
		t.Fatal(err)
	}
	cfg := egress.Config{Ceiling: &egress.Ceiling{Most: parse(t, "internet"), Private: private}, Resolver: names.Resolver()}
	in := enter(t, cfg, "internet, 10.9.8.7:123, [fd00::7]:123")
	hosts := append(outside, nettest.Host, nettest.Host6, "198.18.77.77", "api.example.com", "six.example.com")
	for _, host := range hosts {
		at := host
		if net.ParseIP(host) == nil {
			found, err := in.resolver().LookupHost(t.Context(), host+".")
			if err != nil {
				t.Fatal(err)
			}
			at = found[0]
		}
		if err := in.datagram(hostPort(at, 123)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v", host, err)
		}
		in.line("egress refused: " + hostPort(host, 123) + " by UDP; there is TCP, and UDP for look-ups of names alone; see docs/egress.md")
	}
	r := in.gate.Report("api")
	if r.Refused != int64(len(hosts)) || r.Connections != 0 || len(r.Destinations) != len(hosts) {
		t.Errorf("the report is %+v", r)
	}
	select {
	case at := <-reached:
		t.Errorf("a server was reached at %s", at)
	default:
	}
}

// datagram sends one from inside, and returns what comes of it.
func (in *inside) datagram(address string) (err error) {
	in.do(func() {
		var conn net.Conn
		if conn, err = net.Dial("udp", address); err != nil {
			return
		}
		defer conn.Close()
		if _, err = conn.Write([]byte("x")); err != nil {
			return
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err = conn.Read(make([]byte, 1))
	})
	return err
}

// tellDatagrams tells of each that comes.
func tellDatagrams(conn net.PacketConn, reached chan<- string) {
	b := make([]byte, 100)
	for {
		if _, _, err := conn.ReadFrom(b); err != nil {
			return
		}
		reached <- conn.LocalAddr().String()
	}
}

func open(t *testing.T, in *inside, host string) net.Conn {
	t.Helper()
	conn := mustConnect(t, in, host)
	ping(t, conn)
	return conn
}

func mustConnect(t *testing.T, in *inside, host string) net.Conn {
	t.Helper()
	conn, err := in.connect(host, 443)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func ping(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Write([]byte("ping\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "ping\n" {
		t.Fatalf("%q, %v", line, err)
	}
}

// speak sends a megabyte, says that it is all, and reads it back.
func speak(t *testing.T, in *inside, host string, port int) {
	t.Helper()
	conn, err := in.connect(host, port)
	if err != nil {
		t.Errorf("%s:%d: %v", host, port, err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	sent := strings.Repeat("0123456789abcdef", 1<<16)
	var sender sync.WaitGroup
	sender.Go(func() {
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Error(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got, err := io.ReadAll(conn)
	sender.Wait()
	if err != nil || string(got) != sent {
		t.Errorf("%s:%d: %d bytes came back, %v", host, port, len(got), err)
	}
}

type nip = netip.Addr

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }
