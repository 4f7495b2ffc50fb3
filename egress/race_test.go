package egress

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

// A name with many addresses of a family that leads nowhere is reached by the other one all the same.
func TestManyAddressesOfOneFamilyHideNotTheOther(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var found []netip.Addr
	addr := netip.MustParseAddr("2001:db8::1")
	for range 3 * mostAddresses {
		found, addr = append(found, addr), addr.Next()
	}
	found = append(found, netip.MustParseAddr("127.0.0.1"))
	tried := make(chan netip.Addr, len(found))
	c := connector{decide: func(a netip.Addr) error {
		tried <- a
		if a.Is6() {
			return errors.New("no way there")
		}
		return nil
	}}
	conn, err := c.race(t.Context(), found, uint16(l.Addr().(*net.TCPAddr).Port))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if n := len(tried); n > mostAddresses+1 {
		t.Errorf("%d addresses were tried", n)
	}
}
