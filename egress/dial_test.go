package egress

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"apibuilder/internal/nettest"
)

// TestDialings begins connections of every kind, and completes or abandons them.
func TestDialings(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	const host = "93.184.216.34"
	w := nettest.NewWorld(t, host+"/32")
	go nettest.Echo(w.Listen(host + ":443"))
	there := book{"a.example.": {netip.MustParseAddr(host)}}
	to := func(address string) Destination {
		at := netip.MustParseAddrPort(address)
		return Destination{Addr: at.Addr(), Port: at.Port()}
	}
	ceiling := &Ceiling{Most: mustParse(t, "internet")}
	ceiling.address(Policy{}, to(host+":443"), netip.MustParseAddr(host)) // which opens what it asks the kernel by, and keeps it
	before := sockets(t)
	none := func(t *testing.T) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); sockets(t) != before; time.Sleep(time.Millisecond) { // the server's are closed later
			if time.Now().After(deadline) {
				t.Fatalf("%d sockets are left", sockets(t)-before)
			}
		}
	}
	for _, c := range []struct {
		name, policy string
		to           Destination
		queued       bool // and waits for its turn
		silent       bool // until the policy changes
		made         bool
	}{
		{"a server that is near", "internet", to(host + ":443"), false, false, true},
		{"nobody there", "internet", to(host + ":444"), false, false, false},
		{"nobody answers", "internet", to("93.184.216.99:443"), false, true, false},
		{"not allowed", "none", to(host + ":443"), false, false, false},
		{"never allowed", "internet", to("169.254.169.254:80"), false, false, false},
		{"a name", "a.example:443", Destination{Name: "a.example", Port: 443}, false, false, true},
		{"it waits for its turn", "internet", to(host + ":443"), true, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := func() (*Guard, *Dialing, *[]string) {
				gate := NewGate(Config{Ceiling: ceiling, Resolver: there, Limits: Limits{PerSecond: 10}})
				guard, lines := bind(t, gate, c.policy)
				if c.queued {
					guard.fresh.AllowN(time.Now(), 20)
				}
				d := guard.Begin(c.to)
				if len(*lines) > 0 {
					t.Errorf("the author reads %q before it is complete", *lines)
				}
				return guard, d, lines
			}
			guard, abandoned, lines := begin()
			abandoned.Abandon()
			if n := len(guard.flows); n != 0 || len(*lines) != 0 {
				t.Errorf("%d are counted, and the author reads %q of what was abandoned", n, *lines)
			}
			guard, d, lines := begin()
			if c.silent {
				time.AfterFunc(50*time.Millisecond, func() { guard.set(Policy{}) })
			}
			conn, err := d.Conn(t.Context())
			if (err == nil) != c.made || (len(*lines) == 0) != c.made {
				t.Errorf("%v, and the author reads %q", err, *lines)
			}
			if err == nil {
				_ = conn.Close()
			}
			if n := len(guard.flows); n != 0 {
				t.Errorf("%d are counted", n)
			}
			none(t)
		})
	}
	t.Run("narrowed between", func(t *testing.T) {
		guard, lines := bind(t, NewGate(Config{Ceiling: ceiling}), "internet")
		d := guard.Begin(to(host + ":443"))
		guard.set(Policy{})
		if conn, err := d.Conn(t.Context()); conn != nil || reasonOf(err) != NotListed || len(*lines) != 1 {
			t.Errorf("%v, and the author reads %q", err, *lines)
		}
		none(t)
	})
	t.Run("ended between", func(t *testing.T) {
		guard, _ := bind(t, NewGate(Config{Ceiling: ceiling}), "internet")
		d := guard.Begin(to(host + ":443"))
		guard.Close()
		if conn, err := d.Conn(t.Context()); conn != nil || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v", err)
		}
		none(t)
	})
}
