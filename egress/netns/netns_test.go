package netns

import (
	"net"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestAddressesAreTheirOwnAtOnce asks what each new namespace does with packets for its addresses. The kernel learns it of IPv6 in a
// worker of its own, so that without a wait one in ten is early.
func TestAddressesAreTheirOwnAtOnce(t *testing.T) {
	for range 50 {
		var device *os.File
		file, err := Make(func() (err error) {
			if device, err = openDevice(); err != nil {
				return err
			}
			if err = configure(); err != nil {
				return err
			}
			for _, own := range []net.IP{Inside.AsSlice(), Inside6.AsSlice()} {
				if found, err := netlink.RouteGet(own); err != nil || len(found) == 0 || found[0].Type != unix.RTN_LOCAL {
					t.Errorf("%s: %v, %v", own, found, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = file.Close(), device.Close()
	}
}

// Some hosts have IPv6 turned off by ipv6.disable_ipv6 or net.core.devconf_inherit_init_net, and new namespaces with it.
func TestANamespaceWhoseIPv6IsTurnedOff(t *testing.T) {
	const off = "/proc/sys/net/ipv6/conf/default/disable_ipv6"
	var device *os.File
	var found []net.Addr
	file, err := Make(func() (err error) {
		if err = os.WriteFile(off, []byte("1"), 0); err == nil {
			device, err = openDevice()
		}
		if err == nil {
			err = configure()
		}
		if err == nil {
			found, err = net.InterfaceAddrs()
		}
		return err
	})
	if device != nil {
		defer device.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want := map[string]bool{Inside.String() + "/32": true, Inside6.String() + "/128": true, "127.0.0.1/8": true, "::1/128": true}
	for _, a := range found {
		delete(want, a.String())
	}
	if len(want) > 0 {
		t.Errorf("there are %v: without %v", found, want)
	}
}
