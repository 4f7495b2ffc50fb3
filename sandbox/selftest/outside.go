package selftest

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"apibuilder/egress"
)

const (
	byPolicy = "policy at the dialled address"
	byOwner  = "network namespace of the host's user namespace, no capabilities"
)

// outsideChecks are those of a program that may reach the whole public network, and tries everything else. Each of its
// targets is one that must be refused, so all that leaves this machine are look-ups of its own name.
func outsideChecks() []check {
	never := decided(egress.Never)
	return []check{
		outside("reach.egress_metadata", "connect to the metadata addresses of clouds", byPolicy, never),
		outside("reach.egress_private", "connect to private, link-local and carrier-grade addresses", byPolicy, never),
		outside("reach.egress_special", "connect to addresses that hide or stand for others", byPolicy, specialOffences),
		outside("reach.egress_host", "connect to this host's addresses", byPolicy, also(never, unvisited("address"))),
		outside("reach.egress_loopback", "connect to this host's loopback by names, its own among them", byPolicy, also(loopbackOffences, unvisited("loopback"))),
		outside("reach.egress_resolved", "connect to names that lead to private and metadata addresses, at the second look-up too", byPolicy, never),
		outside("reach.egress_names", "connect to addresses that stand for names nobody looked up", byPolicy, decided(egress.Unknown)),
		outside("reach.egress_udp", "send datagrams, to name servers too", "TCP alone", decided(egress.NotTCP)),
		outside("reach.egress_udp6", "send datagrams over IPv6", "TCP alone", decided(egress.NotTCP)),
		outside("reach.egress_sockets", "raw, packet, vsock, ping and other netlink sockets", "no capabilities, seccomp", refused(eperm, eacces)),
		outside("reach.egress_device", "change its device, addresses, routes and settings", byOwner, refused(eperm, eacces, erofs, enoent)),
		withNetwork("reach.egress_interfaces", "have another network interface", byOwner, hostSees(interfaceOffence("lo", "tun0"))),
		withNetwork("reach.egress_namespace", "share a network namespace, or own its own", byOwner, hostSees(ownedNamespace)),
		withNetwork("reach.egress_handles", "hold the other end of its device, or a namespace", byDescriptor, hostSees(handleOffence)),
	}
}

// withNetwork makes a check that is judged in the sandbox with a network.
func withNetwork(id, tried, stops string, in judgement) check {
	return newCheck(id, "with a network: "+tried, stops, func(ctx context.Context, r *run) finding {
		if r.cfg.Network == nil {
			return finding{NotApplicable, "sandboxes have no network here"}
		}
		s, err := r.outsider(ctx)
		if err != nil {
			return failed("%v", err)
		}
		return in(ctx, r, s)
	})
}

// outside makes a check of a probe that runs in the sandbox with a network.
func outside(id, tried, stops string, offences func(r *run, s seen) []string) check {
	return withNetwork(id, tried, stops, probing(id, offences))
}

// decided wants every target to be refused to the program, and by the gate for a reason: a host that has no route there, or a
// port where nobody listens, looks the same inside.
func decided(reason egress.Reason) func(*run, seen) []string {
	return func(r *run, s seen) []string {
		var found []string
		for target, came := range s {
			switch given := r.cfg.Network.reasons(target); {
			case came != econnrefused:
				found = append(found, target+": "+came)
			case len(given) == 0:
				found = append(found, target+": it came to nothing, but the gate did not refuse it")
			case !slices.Contains(given, reason):
				found = append(found, fmt.Sprintf("%s: the gate refused it as %v, not as %s", target, given, reason))
			}
		}
		return found
	}
}

// specialOffences leaves groups of hosts to the program's own kernel, which makes no connection to them.
func specialOffences(r *run, s seen) []string {
	groups := seen{}
	maps.DeleteFunc(s, func(target, came string) bool {
		to, err := netip.ParseAddrPort(target)
		group := err == nil && came != econnrefused && (to.Addr().IsMulticast() || to.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255}))
		if group {
			groups[target] = came
		}
		return group
	})
	found := append(decided(egress.Never)(r, s), refused("ENETUNREACH", "EINVAL", eacces, "EADDRNOTAVAIL")(r, groups)...)
	maps.Copy(s, groups)
	return found
}

// loopbackOffences leaves out names of the host's that lead nowhere.
func loopbackOffences(r *run, s seen) []string {
	maps.DeleteFunc(s, func(target, came string) bool { return came == "no address" && !strings.Contains(target, trapDomain) })
	return decided(egress.Never)(r, s)
}

// outsider returns the sandbox with a network, a new one when the last has ended.
func (r *run) outsider(ctx context.Context) (*scene, error) {
	if r.connected != nil && r.connected.Exit() == nil {
		return r.connected, nil
	}
	r.endOutsider()
	s, err := r.launch(ctx, launch{files: []string{"kernel", "privilege", "reach", "outside"}, limits: probeLimits, network: true})
	if err != nil {
		return nil, fmt.Errorf("start the program of the probes: %w", err)
	}
	r.connected = s
	return s, nil
}

func (r *run) endOutsider() {
	if r.connected != nil {
		r.connected.end()
		r.connected = nil
	}
}

// ownedNamespace looks from the host at whose the namespace is: whoever owns it could change it (network_namespaces(7)).
func ownedNamespace(r *run, p process) (string, error) {
	text, err := namespaceOffence(r, p, "net")
	if err != nil || text != "" {
		return text, err
	}
	owner, err := netOwner(p.pid)
	if err != nil {
		return "", err
	}
	if ours, err := inode("/proc/self/ns/user"); err != nil || owner != ours {
		return "its network namespace is not the host's", err
	}
	return "", nil
}

// handleOffence looks from the host at what is open: the device would let it send what it likes as anybody, a file of a namespace lead into it.
func handleOffence(_ *run, p process) (string, error) {
	dir := fmt.Sprintf("/proc/%d/fd/", p.pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		var st unix.Stat_t
		link, err := os.Readlink(dir + e.Name())
		if err != nil || unix.Stat(dir+e.Name(), &st) != nil {
			continue // closed meanwhile
		}
		if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(10, 200) || namespaceLink.MatchString(link) { // tuntap.rst
			return fmt.Sprintf("descriptor %s is %s", e.Name(), link), nil
		}
	}
	return "", nil
}

// namespaceLink is how /proc names files of namespaces (namespaces(7)).
var namespaceLink = regexp.MustCompile(`^(net|mnt|pid|user|ipc|uts|cgroup|time)(_for_children)?:\[`)

// netOwner is the inode of the user namespace that owns a process's network namespace (ioctl_ns(2)).
func netOwner(pid int) (uint64, error) {
	net, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return 0, err
	}
	defer net.Close()
	fd, err := unix.IoctlRetInt(int(net.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return 0, fmt.Errorf("ask who owns the network namespace: %w", err)
	}
	owner := os.NewFile(uintptr(fd), "user namespace")
	defer owner.Close()
	return inode(fmt.Sprintf("/proc/self/fd/%d", fd))
}

func inode(path string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return st.Ino, err
}
