package netstack_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"apibuilder/egress"
	"apibuilder/internal/nettest"
)

// never are addresses that no program reaches, with the words of their kind. Those that are outside are there, with a server that would
// answer; the others are the sandbox's own business or nobody's.
var never = []struct {
	address, kind string
	outside       bool
}{
	{"169.254.169.254", "metadata", true},
	{"169.254.170.2", "metadata", true},
	{"100.100.100.200", "metadata", true},
	{"192.0.0.192", "metadata", true},
	{"168.63.129.16", "metadata", true},
	{"fd00:ec2::254", "metadata", true},
	{"fd20:ce::254", "metadata", true},
	{"10.9.8.7", "private", true},
	{"172.31.255.254", "private", true},
	{"192.168.7.7", "private", true},
	{"fd00::7", "private", true},
	{"fec0::7", "private", true},
	{"100.64.0.1", "carrier-grade NAT", true},
	{"169.254.7.7", "link-local", true},
	{"192.0.2.7", "reserved", true},
	{"198.51.100.7", "reserved", true},
	{"203.0.113.7", "reserved", true},
	{"2001:db8::7", "reserved", true},
	{"3fff::7", "reserved", true},
	{"4000::7", "reserved", true},
	{"64:ff9b::a9fe:a9fe", "metadata", true}, // NAT64
	{"64:ff9b::a09:807", "private", true},
	{"64:ff9b::8.8.8.8", "an IPv4 address inside an IPv6 address", true},
	{"64:ff9b:1::a09:807", "private", true},
	{"2002:a9fe:a9fe::1", "metadata", true}, // 6to4
	{"2002:7f00:1::1", "loopback", true},
	{"2002:a09:807::1", "private", true},
	{"2001::f5f6:f7f8", "private", true}, // Teredo, every bit turned round
	{"2001::5601:5601", "metadata", true},
	{"::a09:807", "private", true}, // IPv4-compatible
	{nettest.Host, "this host", false},
	{nettest.Host6, "this host", false},
	{"127.0.0.1", "loopback", false},
	{"127.9.9.9", "loopback", false},
	{"0.0.0.0", "loopback", false},
	{"::1", "loopback", false},
	{"::", "loopback", false},
	{"::ffff:169.254.169.254", "metadata", false}, // mapped: what is dialled is the IPv4 address
	{"::ffff:10.9.8.7", "private", false},
	{"::ffff:127.0.0.1", "loopback", false},
	{"224.0.0.1", "multicast or broadcast", false},
	{"255.255.255.255", "multicast or broadcast", false},
	{"240.0.0.1", "reserved", false},
	{"ff02::1", "multicast or broadcast", false},
	{"fe80::7", "link-local", false},
}

// everywhere are exceptions of an operator that are ranges and names, which stand for private networks alone.
const everywhere = "0.0.0.0/0:80, [::/0]:80, *.liar.example.com:80"

// TestNever has a program that may reach everything public try each kind of address that is not, by the address and by a name that is
// allowed and has it; those that are no networks also where the operator's exceptions are everywhere.
func TestNever(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	addresses, records := []string{"9.9.9.9/32"}, map[string][]string{}
	for i, n := range never {
		if n.outside {
			addresses = append(addresses, netip.PrefixFrom(addr(n.address), addr(n.address).BitLen()).String())
		}
		records[liar(i)] = []string{n.address}
	}
	w := nettest.NewWorld(t, addresses...)
	names := nettest.NewNames(w, "9.9.9.9:53", records)
	reached := make(chan string, 100)
	for _, n := range never {
		if n.outside {
			go tellAll(w.Listen(net.JoinHostPort(n.address, "80")), reached)
		}
	}
	for _, own := range []string{"0.0.0.0:80", "[::]:80"} { // all of the host's own
		l, err := net.Listen("tcp"+map[bool]string{true: "6", false: "4"}[own[0] == '['], own)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go tellAll(l, reached)
	}
	ranges, err := egress.ParseRules(everywhere)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range never {
		try := func(t *testing.T, private []egress.Rule, policy string) {
			cfg := egress.Config{Ceiling: &egress.Ceiling{Most: parse(t, "internet"), Private: private}, Resolver: names.Resolver()}
			in := enter(t, cfg, policy)
			if conn, err := in.connect(n.address, 80); err == nil {
				_ = conn.Close()
				t.Error("it is reached")
			} else if n.outside {
				if !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("by its address: %v", err)
				}
				in.line("never allowed (" + class(n.kind) + ")")
			}
			if _, err := in.connect(liar(i), 80); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("by a name: %v", err)
			}
			in.line(liar(i) + ":80 has the address " + addr(n.address).Unmap().String() + ", which is never allowed (" + class(n.kind) + ")")
		}
		t.Run(n.address, func(t *testing.T) { try(t, nil, "internet, *.liar.example.com:80") })
		if slices.Contains([]string{"metadata", "this host", "loopback", "multicast or broadcast"}, n.kind) {
			t.Run(n.address+" in an exception", func(t *testing.T) { try(t, ranges, everywhere) })
		}
	}
	select {
	case at := <-reached:
		t.Errorf("a server was reached at %s", at)
	default:
	}
}

func liar(i int) string { return fmt.Sprintf("n%d.liar.example.com", i) }

func class(kind string) string {
	return strings.Replace(kind, "metadata", "a cloud's metadata service", 1)
}

// tellAll tells of each connection.
func tellAll(l net.Listener, reached chan<- string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		reached <- conn.LocalAddr().String()
		_ = conn.Close()
	}
}
