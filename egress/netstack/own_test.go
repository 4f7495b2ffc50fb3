package netstack_test

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"apibuilder/egress"
	"apibuilder/internal/nettest"
)

// TestOwnAddressesThatComeLater has this host take over the address of a server that a program may reach, and answer for a whole range.
func TestOwnAddressesThatComeLater(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	w := nettest.NewWorld(t, "93.184.216.34/32", "2606:2800::1/128", "93.184.217.9/32")
	for _, host := range []string{"93.184.216.34", "2606:2800::1", "93.184.217.9"} {
		go nettest.Echo(w.Listen(net.JoinHostPort(host, "443")))
	}
	reached := make(chan string, 10)
	for _, all := range []string{"0.0.0.0:443", "[::]:443"} {
		l, err := net.Listen(map[bool]string{true: "tcp6", false: "tcp4"}[all[0] == '['], all)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go tellAll(l, reached)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	in := enter(t, egress.Config{Ceiling: &egress.Ceiling{Most: parse(t, "internet")}}, "internet")
	address := func(text string) error {
		a, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		a.Flags = unix.IFA_F_NODAD
		return netlink.AddrAdd(lo, a)
	}
	for host, take := range map[string]func() error{
		"93.184.216.34": func() error { return address("93.184.216.34/32") },
		"2606:2800::1":  func() error { return address("2606:2800::1/128") },
		"93.184.217.9": func() error {
			_, all, _ := net.ParseCIDR("93.184.217.0/24")
			return netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: all, Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST, Table: unix.RT_TABLE_LOCAL})
		},
	} {
		_ = open(t, in, host) // so that it is known whose it was a moment ago
		if err := take(); err != nil {
			t.Fatal(err)
		}
		awaitOwn(t, host)
		if _, err := in.connect(host, 443); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v", host, err)
		}
		in.line("never allowed (this host)")
	}
	select {
	case at := <-reached:
		t.Errorf("this host was reached at %s", at)
	default:
	}
}

// awaitOwn waits until the system takes an address for its own, which of IPv6 is a moment after it was added.
func awaitOwn(t *testing.T, host string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if found, err := netlink.RouteGet(net.ParseIP(host)); err == nil && found[0].Type == unix.RTN_LOCAL {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not become an own address", host)
		}
	}
}
