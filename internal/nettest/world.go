package nettest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Addresses of the two ends between the test's host and its World.
const (
	Host   = "5.5.5.1"
	Host6  = "2a00:5::1"
	world  = "5.5.5.2"
	world6 = "2a00:5::2"
)

// World is everything outside of the test's host: a network namespace that has every address the test gives it, and is
// where all of the host's packets go. The test must be Isolated.
type World struct {
	t    testing.TB
	work chan func()
}

// NewWorld makes a world with these addresses.
func NewWorld(t testing.TB, addresses ...string) *World {
	t.Helper()
	if os.Getenv(variable) == "" {
		t.Fatal("the test is not Isolated")
	}
	w := &World{t: t, work: make(chan func())}
	ready := make(chan int)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("make the world: %v", err)
		}
		ready <- unix.Gettid()
		for f := range w.work {
			f()
		}
	}()
	thread := <-ready
	t.Cleanup(func() {
		close(w.work)
		<-done
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "host0"}, PeerName: "world0"}))
	peer, err := netlink.LinkByName("world0")
	must(err)
	must(netlink.LinkSetNsPid(peer, thread))
	must(join("host0", []string{Host + "/24", Host6 + "/64"}, world, world6))
	w.Do(func() { must(join("world0", append([]string{world + "/24", world6 + "/64"}, addresses...), "", "")) })
	return w
}

// join brings a namespace's loopback and device up.
func join(device string, addresses []string, gateways ...string) error {
	for _, name := range []string{"lo", device} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
		if name == "lo" {
			continue
		}
		for _, text := range addresses {
			address, err := netlink.ParseAddr(text)
			if err != nil {
				return err
			}
			address.Flags = unix.IFA_F_NODAD
			if err := netlink.AddrAdd(link, address); err != nil {
				return err
			}
		}
		for _, gateway := range gateways {
			if gateway == "" {
				continue
			}
			if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(gateway)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Do runs f on a thread that is in the world: sockets that it makes belong there.
func (w *World) Do(f func()) {
	done := make(chan struct{})
	w.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// Listen listens in the world until the test ends.
func (w *World) Listen(address string) (l net.Listener) {
	w.t.Helper()
	var err error
	w.Do(func() { l, err = new(net.ListenConfig).Listen(context.Background(), "tcp", address) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	return l
}

// ListenPacket is Listen for UDP.
func (w *World) ListenPacket(address string) (c net.PacketConn) {
	w.t.Helper()
	var err error
	w.Do(func() { c, err = new(net.ListenConfig).ListenPacket(context.Background(), "udp", address) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Start starts a program in the world and ends it with the test.
func (w *World) Start(cmd *exec.Cmd) {
	w.t.Helper()
	var err error
	w.Do(func() { err = cmd.Start() })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
	})
}
