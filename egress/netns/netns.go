// Package netns makes network namespaces with one device, whose other end is this process. They belong to the user
// namespace of the host, so that nobody who is put into one can change it, and nothing of the host is touched: no bridge, no
// rule, no sysctl.
package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The addresses of every namespace are the same; each is alone in its own. They are of the ranges for benchmarks (RFC 2544,
// RFC 5180), which no network uses.
var (
	Inside  = netip.MustParseAddr("198.18.0.2")
	Inside6 = netip.MustParseAddr("2001:2::2")
	Outside = netip.MustParseAddr("198.18.0.1") // this process's end, where names are asked for
)

const (
	deviceName = "tun0"
	// MTU is that of the device; segments that are offloaded are longer.
	MTU = 1500
)

// Namespace is a network namespace with its device.
type Namespace struct {
	// File is open on the namespace, for setns(2). Whoever made it closes it; processes inside keep the namespace.
	File *os.File
	// Device is the other end of its device: one packet a read or write, with a virtio header of ten bytes before it.
	Device *os.File
	// Netlink is the namespace's table of netlink sockets (/proc/net/netlink), with the bytes that wait in each.
	Netlink *os.File
}

// New makes a namespace with loopback and a device that everything else goes to. It needs root.
func New() (*Namespace, error) {
	n := &Namespace{}
	file, err := Make(func() (err error) {
		if n.Device, err = openDevice(); err != nil {
			return err
		}
		if n.Netlink, err = os.Open("/proc/thread-self/net/netlink"); err != nil {
			return fmt.Errorf("open the namespace's netlink sockets: %w", err)
		}
		return configure()
	})
	if err != nil {
		for _, f := range []*os.File{n.Device, n.Netlink} {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
		}
		return nil, err
	}
	n.File = file
	return n, nil
}

// Make makes a network namespace, calls fill on a thread that is in it, and returns a file open on it, for setns(2), which the
// caller closes. The namespace lives as long as the file, or what fill has opened in it: a socket belongs to the namespace that it was
// made in, whichever thread uses it later. It needs root.
func Make(fill func() error) (file *os.File, err error) {
	err = away(func() (err error) {
		file, err = enter(fill)
		return err
	})
	return file, err
}

// Visit calls look on a thread that is in the network namespace at path, such as /proc/1/ns/net. It needs root.
func Visit(path string, look func() error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return away(func() error {
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace %s: %w", path, err)
		}
		return look()
	})
}

// away calls visit, which changes the network namespace of its thread, on one that comes back.
func away(visit func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		home, openErr := os.Open(threadNamespace)
		if openErr != nil {
			err = fmt.Errorf("find the own network namespace: %w", openErr)
			runtime.UnlockOSThread()
			return
		}
		defer home.Close()
		err = visit()
		// A thread that cannot come back stays locked, and ends with this goroutine.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	<-done
	return err
}

const threadNamespace = "/proc/thread-self/ns/net"

// enter takes the calling thread into a namespace of its own.
func enter(fill func() error) (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	if err := fill(); err != nil {
		return nil, err
	}
	file, err := os.Open(threadNamespace)
	if err != nil {
		return nil, fmt.Errorf("open the network namespace: %w", err)
	}
	return file, nil
}

// Close closes every file.
func (n *Namespace) Close() error {
	return errors.Join(n.File.Close(), n.Device.Close(), n.Netlink.Close())
}

// openDevice makes the device in the namespace of the calling thread. It takes checksums and segments that are not finished
// (IFF_VNET_HDR, tuntap.rst), which is what makes it as fast as a device of the kernel's.
func openDevice() (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		return nil, fmt.Errorf("open /dev/net/tun: %w: load the module with modprobe tun, or set --egress-ceiling none", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(deviceName)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request) // before NewFile, so that reads use the poller
	}
	if err == nil {
		err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the sandbox's network device: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

// configure brings the namespace of the calling thread up.
func configure() error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("configure the sandbox's network: %w", err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err == nil {
		err = h.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	device, err := h.LinkByName(deviceName)
	if err != nil {
		return fmt.Errorf("find the sandbox's network device: %w", err)
	}
	quiet()
	if err := h.LinkSetMTU(device, MTU); err != nil {
		return fmt.Errorf("set the MTU of the sandbox's network device: %w", err)
	}
	if err := h.LinkSetUp(device); err != nil {
		return fmt.Errorf("bring the sandbox's network device up: %w", err)
	}
	if err := route(h, device, Inside, "0.0.0.0/0"); err != nil {
		return err
	}
	err = route(h, device, Inside6, "::/0")
	if errors.Is(err, unix.EACCES) { // IPv6 is there, and turned off in new namespaces
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("0"), 0)
		err = route(h, device, Inside6, "::/0")
	}
	if err == nil {
		return awaitOwn(h, Inside6)
	}
	if fileExists("/proc/sys/net/ipv6") {
		return err
	}
	return nil
}

// quiet turns off what IPv6 does by itself: there is nobody to discover. Without the files there is no IPv6.
func quiet() {
	for name, value := range map[string]string{"addr_gen_mode": "1", "accept_ra": "0", "router_solicitations": "0"} {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+deviceName+"/"+name, []byte(value), 0)
	}
}

func route(h *netlink.Handle, device netlink.Link, own netip.Addr, everything string) error {
	address := &netlink.Addr{
		IPNet: &net.IPNet{IP: own.AsSlice(), Mask: net.CIDRMask(own.BitLen(), own.BitLen())}, Flags: unix.IFA_F_NODAD,
	}
	if err := h.AddrAdd(device, address); err != nil {
		return fmt.Errorf("give the sandbox's network device the address %s: %w", own, err)
	}
	_, all, err := net.ParseCIDR(everything)
	if err == nil {
		err = h.RouteAdd(&netlink.Route{LinkIndex: device.Attrs().Index, Dst: all, Scope: netlink.SCOPE_LINK})
	}
	if err != nil {
		return fmt.Errorf("route %s to the sandbox's network device: %w", everything, err)
	}
	return nil
}

// settleTimeout is how long the kernel has for what it does later by itself; it takes microseconds where processors are free.
const settleTimeout = 5 * time.Second

// awaitOwn waits until the calling thread's namespace takes packets for an IPv6 address that it was given: that is some time after it
// sends from there, and the first answers would be lost.
func awaitOwn(h *netlink.Handle, own netip.Addr) error {
	for end := time.Now().Add(settleTimeout); ; time.Sleep(50 * time.Microsecond) {
		found, err := h.RouteGet(own.AsSlice())
		if err == nil && len(found) > 0 && found[0].Type == unix.RTN_LOCAL {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the kernel does not take %s for the sandbox's own address: %w", own, errors.Join(err, os.ErrDeadlineExceeded))
		}
	}
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
