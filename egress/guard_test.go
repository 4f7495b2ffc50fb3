package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// book is a resolver that knows what it is told; names have a dot at their end there.
type book map[string][]netip.Addr

func (b book) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if found, ok := b[host]; ok {
		return found, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

var loopback = netip.MustParseAddr("127.0.0.1")

// listen is a server on loopback that an operator has named by its address, and its port.
func listen(t *testing.T) (net.Listener, uint16, *Ceiling) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	private, err := ParseRules(fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	return l, port, &Ceiling{Most: mustParse(t, "internet"), Private: private}
}

// bind makes a guard of an API and what its author reads.
func bind(t *testing.T, g *Gate, policy string) (*Guard, *[]string) {
	t.Helper()
	var mu sync.Mutex
	lines := &[]string{}
	guard := g.Guard()
	guard.Bind("api", mustParse(t, policy), g.Turn(), func(line string) {
		mu.Lock()
		defer mu.Unlock()
		*lines = append(*lines, line)
	})
	t.Cleanup(guard.Close)
	return guard, lines
}

func reasonOf(err error) Reason {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Reason
	}
	return ""
}

func TestGuardDials(t *testing.T) {
	l, port, ceiling := listen(t)
	gate := NewGate(Config{Ceiling: ceiling, Resolver: book{"db.internal.": {loopback}, "other.internal.": {netip.MustParseAddr("127.0.0.2")}}})
	guard, lines := bind(t, gate, fmt.Sprintf("db.internal:%d, other.internal:%d, 127.0.0.1:%d", port, port, port))
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); _ = conn.Close() }()
		}
	}()
	conn, err := guard.Dial(t.Context(), Destination{Name: "db.internal", Port: port})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 10)); n != 5 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	r := gate.Report("api")
	if r.Open != 1 || r.Connections != 1 || r.Sent != 5 || r.Received != 5 || r.Destinations[0].To != fmt.Sprintf("db.internal:%d", port) {
		t.Errorf("%+v", r)
	}
	_, _ = conn.Close(), conn.Close()
	if r := gate.Report("api"); r.Open != 0 {
		t.Errorf("%d are open after all are closed", r.Open)
	}
	if _, err := guard.Dial(t.Context(), Destination{Name: "other.internal", Port: port}); reasonOf(err) != Never {
		t.Errorf("another address of loopback: %v", err)
	}
	if _, err := guard.Dial(t.Context(), Destination{Name: "db.internal", Port: port + 1}); reasonOf(err) != NotListed {
		t.Errorf("another port: %v", err)
	}
	if len(*lines) != 2 || !strings.Contains((*lines)[0], "127.0.0.2") {
		t.Errorf("the author reads %q", *lines)
	}
}

// TestNamesThatLie has the name servers say that a name which the operator allows is at this host, at loopback or at a metadata service.
func TestNamesThatLie(t *testing.T) {
	private, err := ParseRules("*.internal:9, 10.0.0.0/8:9, 127.0.0.0/8:9, 169.254.0.0/16:9, [::/0]:9")
	if err != nil {
		t.Fatal(err)
	}
	for at, class := range map[string]Class{
		"127.0.0.1": Loopback, "::1": Loopback, "::ffff:127.0.0.1": Loopback, "169.254.169.254": Metadata, "fd00:ec2::254": Metadata,
		"10.1.2.3": OwnHost, "fd00:5::1": OwnHost,
	} {
		ceiling := &Ceiling{Most: mustParse(t, "internet"), Private: private, host: ownHost("10.1.2.3", "fd00:5::1")}
		gate := NewGate(Config{Ceiling: ceiling, Resolver: book{"db.internal.": {netip.MustParseAddr(at)}}})
		guard, lines := bind(t, gate, "internet, *.internal:9")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := guard.Dial(ctx, Destination{Name: "db.internal", Port: 9})
		cancel()
		refusal, ok := errors.AsType[*Refusal](err)
		if !ok || refusal.Reason != Never || refusal.Class != class {
			t.Errorf("%s: %v, want %s", at, err, class)
		}
		if len(*lines) != 1 || !strings.Contains((*lines)[0], "db.internal:9 has the address ") || !strings.Contains((*lines)[0], "("+string(class)+")") {
			t.Errorf("%s: the author reads %q", at, *lines)
		}
	}
}

// TestInternetHasNoExceptions has a policy of internet reach nothing that the operator allows as an exception, until it names that, and
// no more when it does not any more.
func TestInternetHasNoExceptions(t *testing.T) {
	_, port, ceiling := listen(t)
	gate := NewGate(Config{Ceiling: ceiling, Resolver: book{"liar.example.": {loopback}}})
	guard, lines := bind(t, gate, "internet")
	to := Destination{Name: "liar.example", Port: port}
	if _, err := guard.Dial(t.Context(), to); reasonOf(err) != NotListed {
		t.Errorf("a name that has the address: %v", err)
	}
	if _, err := guard.Dial(t.Context(), Destination{Addr: loopback, Port: port}); reasonOf(err) != NotListed {
		t.Errorf("the address: %v", err)
	}
	if len(*lines) != 2 || !strings.Contains((*lines)[0], "has the address 127.0.0.1 (loopback), which internet does not include") {
		t.Errorf("the author reads %q", *lines)
	}
	for _, named := range []string{fmt.Sprintf("internet, liar.example:%d", port), fmt.Sprintf("internet, 127.0.0.1:%d", port)} {
		gate.Set("api", mustParse(t, named))
		conn, err := guard.Dial(t.Context(), to)
		if err != nil {
			t.Fatalf("%s: %v", named, err)
		}
		gate.Set("api", mustParse(t, "internet"))
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s, which is taken away: %v", named, err)
		}
		_ = conn.Close()
	}
}

func TestGuardIsClosedBeforeItIsBound(t *testing.T) {
	_, port, ceiling := listen(t)
	guard := NewGate(Config{Ceiling: ceiling}).Guard()
	defer guard.Close()
	if _, err := guard.Dial(t.Context(), Destination{Addr: loopback, Port: port}); reasonOf(err) != NotListed {
		t.Errorf("%v", err)
	}
	if err := guard.Lookup(t.Context(), "db.internal"); reasonOf(err) != NotListed {
		t.Errorf("%v", err)
	}
}

func TestGuardBounds(t *testing.T) {
	_, port, ceiling := listen(t)
	gate := NewGate(Config{Ceiling: ceiling, Limits: Limits{Connections: 2, PerSecond: 1}})
	guard, _ := bind(t, gate, fmt.Sprintf("127.0.0.1:%d", port))
	to := Destination{Addr: loopback, Port: port}
	first, err := guard.Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	second, err := guard.Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guard.Dial(t.Context(), to); reasonOf(err) != TooMany {
		t.Errorf("a third at a time: %v", err)
	}
	_, _ = first.Close(), second.Close()
	guard.fresh.SetLimit(0)
	guard.fresh.SetBurst(0)
	if _, err := guard.Dial(t.Context(), to); reasonOf(err) != TooFast {
		t.Errorf("too fast: %v", err)
	}
}

// lost is a resolver that finds nothing.
type lost struct{ err net.DNSError }

func (l lost) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { return nil, &l.err }

// TestNameServersAreNotTold has look-ups fail in every way: the author reads how, and not which servers the host asks.
func TestNameServersAreNotTold(t *testing.T) {
	for said, err := range map[string]net.DNSError{
		"no such host":                    {Err: "no such host", Name: "a.example.", Server: "10.0.0.2:53", IsNotFound: true},
		"no name server answered in time": {Err: "read udp 10.0.0.9:5->10.0.0.2:53: i/o timeout", Name: "a.example.", Server: "10.0.0.2:53", IsTimeout: true},
		"the name servers failed":         {Err: "server misbehaving", Name: "a.example.", Server: "10.0.0.2:53", IsTemporary: true},
	} {
		gate := NewGate(Config{Ceiling: &Ceiling{Most: mustParse(t, "internet")}, Resolver: lost{err}})
		guard, lines := bind(t, gate, "internet")
		if _, err := guard.Dial(t.Context(), Destination{Name: "a.example", Port: 443}); err == nil {
			t.Error("it is found")
		}
		if want := "egress: connect to a.example:443: look the name up: " + said; len(*lines) != 1 || (*lines)[0] != want {
			t.Errorf("the author reads %q, not %q", *lines, want)
		}
	}
}

// TestConnectionsOfAllSandboxes has some sandboxes make all the connections that they can: what they leave is enough for one that comes
// later and wants few, and they may make as many again when they have ended them.
func TestConnectionsOfAllSandboxes(t *testing.T) {
	const all, greedy = 640, 4
	_, port, ceiling := listen(t)
	gate := NewGate(Config{Ceiling: ceiling, Files: all, Limits: Limits{Connections: 500, PerSecond: -1}})
	to := Destination{Addr: loopback, Port: port}
	most := func() (conns []*Conn, err error) {
		guard, _ := bind(t, gate, fmt.Sprintf("127.0.0.1:%d", port))
		for {
			conn, err := guard.Dial(t.Context(), to)
			if err != nil {
				return conns, err
			}
			conns = append(conns, conn)
		}
	}
	for range 2 {
		var open []*Conn
		for range greedy {
			conns, err := most()
			if reasonOf(err) != TooMany || !strings.Contains(err.Error(), "which others leave to one program of the server's 640; see") {
				t.Fatalf("after %d connections: %v", len(conns), err)
			}
			open = append(open, conns...)
		}
		if len(open) < 100 || len(open) > all/2 {
			t.Errorf("%d connections are made of %d", len(open), all)
		}
		if conns, _ := most(); len(conns) < 10 {
			t.Errorf("a sandbox that comes later makes %d connections", len(conns))
		} else {
			open = append(open, conns...)
		}
		if n := gate.held.Load(); n != int64(len(open)) {
			t.Errorf("%d of %d connections are counted", n, len(open))
		}
		for _, conn := range open {
			_, _ = conn.Close(), conn.Close()
		}
	}
	if n := gate.held.Load(); n != 0 {
		t.Errorf("%d connections are counted after all are closed", n)
	}
}

// TestLookupsOfAllSandboxes has sandboxes look up names whose name server says nothing, and connect to such names: both have descriptors, of
// which some are left to others.
func TestLookupsOfAllSandboxes(t *testing.T) {
	const all = 640
	resolver := slow{asked: make(chan struct{}, 10*all), answer: make(chan []netip.Addr)}
	gate := NewGate(Config{Ceiling: &Ceiling{Most: mustParse(t, "internet")}, Resolver: resolver, Files: all, Limits: Limits{Connections: -1, PerSecond: -1}})
	guards := []*Guard{}
	for range 4 {
		guard, _ := bind(t, gate, "internet")
		guards = append(guards, guard)
	}
	var work sync.WaitGroup
	var refused atomic.Int64
	for range all {
		for _, guard := range guards {
			work.Go(func() {
				if reasonOf(guard.Lookup(t.Context(), "a.example")) == TooMany {
					refused.Add(1)
				}
			})
			work.Go(func() {
				if _, err := guard.Dial(t.Context(), Destination{Name: "a.example", Port: 443}); reasonOf(err) == TooMany {
					refused.Add(1)
				}
			})
		}
	}
	asked := int64(0)
	for asked+refused.Load() < int64(2*all*len(guards)) {
		select {
		case <-resolver.asked:
			asked++
		case <-time.After(time.Millisecond): // for who is refused
		}
	}
	if held := gate.held.Load(); held != 2*asked || held > all/2 || held < 50 {
		t.Errorf("%d names are looked up, with %d descriptors of %d", asked, held, all)
	}
	close(resolver.answer) // with no address
	work.Wait()
	if held := gate.held.Load(); held != 0 {
		t.Errorf("%d descriptors are counted after all have ended", held)
	}
}

// TestSetWhileRead has a policy that was set after another began to be read count, and one that was read later count more.
func TestSetWhileRead(t *testing.T) {
	gate := NewGate(Config{Ceiling: &Ceiling{Most: mustParse(t, "internet")}})
	before := gate.Turn()
	gate.Set("api", mustParse(t, "new.example:443"))
	stale, fresh := gate.Guard(), gate.Guard()
	stale.Bind("api", mustParse(t, "old.example:443"), before, nil)
	fresh.Bind("api", mustParse(t, "newest.example:443"), gate.Turn(), nil)
	if stale.Knows("old.example") || !stale.Knows("new.example") || !fresh.Knows("newest.example") {
		t.Error("the wrong policy counts")
	}
	gate.Set("api", mustParse(t, "none"))
	if stale.Knows("new.example") || fresh.Knows("newest.example") {
		t.Error("a change does not reach the guards")
	}
	stale.Close()
	fresh.Close()
	if n := len(gate.apis["api"].guards); n != 0 {
		t.Errorf("%d guards are remembered after all are closed", n)
	}
}

// slow is a resolver that tells when it is asked, and answers when it is let.
type slow struct {
	asked  chan struct{}
	answer chan []netip.Addr
}

func (s slow) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	s.asked <- struct{}{}
	select {
	case found := <-s.answer:
		return found, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestEndWhileItIsMade has a policy change, and a sandbox end, while a connection waits for its turn or is being made. The first is a refusal
// of what is not listed, and nobody is told of the second.
func TestEndWhileItIsMade(t *testing.T) {
	resolver := slow{asked: make(chan struct{}), answer: make(chan []netip.Addr)}
	for _, c := range []struct {
		name   string
		queued bool
		end    func(*Gate, *Guard)
		reason Reason
	}{
		{"change while made", false, func(gate *Gate, _ *Guard) { gate.Set("api", Policy{}) }, NotListed},
		{"end while made", false, func(_ *Gate, guard *Guard) { guard.Close() }, ""},
		{"change while queued", true, func(gate *Gate, _ *Guard) { gate.Set("api", Policy{}) }, NotListed},
		{"end while queued", true, func(_ *Gate, guard *Guard) { guard.Close() }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			gate := NewGate(Config{Ceiling: &Ceiling{Most: mustParse(t, "internet")}, Resolver: resolver, Limits: Limits{PerSecond: 1}})
			guard, lines := bind(t, gate, "a.example:443")
			if c.queued {
				guard.fresh.AllowN(time.Now(), 2)
			}
			made := make(chan error)
			go func() {
				_, err := guard.Dial(t.Context(), Destination{Name: "a.example", Port: 443})
				made <- err
			}()
			if c.queued {
				for made := 0; made == 0; time.Sleep(time.Millisecond) {
					guard.mu.Lock()
					made = len(guard.flows)
					guard.mu.Unlock()
				}
			} else {
				<-resolver.asked
			}
			c.end(gate, guard)
			err := <-made
			if err == nil || reasonOf(err) != c.reason {
				t.Errorf("it ends with %v", err)
			}
			want := int64(0)
			if c.reason != "" {
				want = 1
			}
			if r := gate.Report("api"); r.Refused != want || int64(len(*lines)) != want {
				t.Errorf("%d refusals are counted and the author reads %q", r.Refused, *lines)
			}
			if _, err := guard.Dial(t.Context(), Destination{Name: "a.example", Port: 443}); c.reason == "" && !errors.Is(err, net.ErrClosed) {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

func TestCountsAreBounded(t *testing.T) {
	gate := NewGate(Config{Ceiling: &Ceiling{Most: mustParse(t, "internet")}})
	guard, lines := bind(t, gate, "none")
	for port := range 5000 {
		_, _ = guard.Dial(t.Context(), Destination{Addr: netip.MustParseAddr("1.2.3.4"), Port: uint16(port + 1)})
	}
	r := gate.Report("api")
	if r.Refused != 5000 || len(r.Destinations) != mostDestinations+1 || r.Destinations[0].To != others {
		t.Errorf("%d refused, %d destinations, first %+v", r.Refused, len(r.Destinations), r.Destinations[0])
	}
	if len(*lines) < tellBurst || len(*lines) > tellBurst+30 {
		t.Errorf("the author reads %d lines", len(*lines))
	}
}

func TestTellerTellsWhatItLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		teller := newTeller(func(line string) { lines = append(lines, line) })
		for range 100 {
			teller.say("refused")
		}
		time.Sleep(3 * time.Second)
		teller.say("again")
		if len(lines) != tellBurst+1 || !strings.Contains(lines[tellBurst], "again (88 more lines") {
			t.Errorf("%q", lines)
		}
	})
}

// TestEveryRefusalIsTold is about those of look-ups, of connections, and those that were decided elsewhere.
func TestEveryRefusalIsTold(t *testing.T) {
	var told []string
	g := NewGate(Config{
		Ceiling: &Ceiling{Most: mustParse(t, "internet")}, Resolver: book{"inner.example.com.": {loopback}},
		Refused: func(r *Refusal) { told = append(told, string(r.Reason)+" "+r.What) },
	})
	guard, _ := bind(t, g, "inner.example.com:80")
	_ = guard.Lookup(t.Context(), "other.example.com")
	for _, to := range []Destination{{Name: "inner.example.com", Port: 80}, {Name: "inner.example.com", Port: 81}, {Addr: loopback, Port: 80}} {
		if _, err := guard.Dial(t.Context(), to); err == nil {
			t.Errorf("%s is reached", to)
		}
	}
	guard.Refuse(&Refusal{Reason: NotTCP, What: "192.0.2.1:53"})
	want := "not_listed other.example.com, never_allowed inner.example.com:80, not_listed inner.example.com:81, " +
		"never_allowed 127.0.0.1:80, not_tcp 192.0.2.1:53"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("told %s, want %s", got, want)
	}
}
