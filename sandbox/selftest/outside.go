package selftest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	byPolicy = "policy at the dialled address"
	byOwner  = "network namespace of the host's user namespace, no capabilities"
)

// outsideChecks are those of a program that may reach the whole public network, and tries everything else. Each of its
// targets is one that must be refused, so all that leaves this machine are look-ups of its own name.
func outsideChecks() []check {
	gone := refused("ECONNREFUSED")
	return []check{
		outside("reach.egress_metadata", "with a network: connect to the metadata addresses of clouds", byPolicy, gone),
		outside("reach.egress_private", "with a network: connect to private, link-local and carrier-grade addresses", byPolicy, gone),
		outside("reach.egress_special", "with a network: connect to addresses that hide or stand for others", byPolicy,
			refused("ECONNREFUSED", "ENETUNREACH", "EINVAL", eacces, "EADDRNOTAVAIL")),
		outside("reach.egress_host", "with a network: connect to this host's addresses", byPolicy, also(gone, unvisited("address"))),
		outside("reach.egress_loopback", "with a network: connect to this host's loopback by its name", byPolicy,
			also(refused("ECONNREFUSED", "no address"), unvisited("loopback"))),
		outside("reach.egress_names", "with a network: connect to addresses that stand for names nobody looked up", byPolicy, gone),
		outside("reach.egress_udp", "with a network: send datagrams, to name servers too", "TCP alone", gone),
		outside("reach.egress_sockets", "with a network: raw, packet, vsock, ping and other netlink sockets", "no capabilities, seccomp", refused(eperm, eacces)),
		outside("reach.egress_device", "with a network: change its device, addresses, routes and settings", byOwner, refused(eperm, eacces, "EROFS", enoent)),
		outside("reach.egress_interfaces", "with a network: find another network interface", byOwner, func(_ *run, s seen) []string {
			var found []string
			for name, state := range s {
				if name != "lo" && name != "tun0" && state != "down" {
					found = append(found, name+" is "+state)
				}
			}
			return found
		}),
		newCheck("reach.egress_namespace", "with a network: share a network namespace, or own its own", byOwner, ownedNamespace),
	}
}

// outside makes a check of a probe that runs in a sandbox with a network.
func outside(id, tried, stops string, offences func(r *run, s seen) []string) check {
	return newCheck(id, tried, stops, func(ctx context.Context, r *run) finding {
		if r.cfg.Egress.None() {
			return finding{NotApplicable, "sandboxes have no network here"}
		}
		s, err := r.outsider(ctx)
		if err != nil {
			return failed("%v", err)
		}
		answer, err := ask[seen](ctx, s, "/probe/"+id, probePatience)
		if err != nil {
			return failed("the probe did not run: %v", err)
		}
		return r.judge(answer, offences)
	})
}

// outsider returns the sandbox with a network, a new one when the last has ended.
func (r *run) outsider(ctx context.Context) (*scene, error) {
	if r.connected != nil && r.connected.Exit() == nil {
		return r.connected, nil
	}
	r.endOutsider()
	s, err := r.launch(ctx, launch{files: []string{"outside"}, limits: probeLimits, network: true})
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
func ownedNamespace(ctx context.Context, r *run) finding {
	if r.cfg.Egress.None() {
		return finding{NotApplicable, "sandboxes have no network here"}
	}
	s, err := r.outsider(ctx)
	if err != nil {
		return failed("%v", err)
	}
	all, err := s.all()
	if err != nil {
		return failed("%v", err)
	}
	var found []string
	for _, p := range all {
		text, err := namespaceOffence(r, p, "net")
		if err != nil {
			return failed("process %d: %v", p.pid, err)
		}
		owner, err := netOwner(p.pid)
		if err != nil {
			return failed("process %d: %v", p.pid, err)
		}
		if ours, err := inode("/proc/self/ns/user"); err != nil || owner != ours {
			text += "its network namespace is not the host's"
		}
		if text != "" {
			found = append(found, fmt.Sprintf("process %d: %s", p.pid, text))
		}
	}
	if len(found) > 0 {
		slices.Sort(found)
		return failed("%s", strings.Join(found, ", "))
	}
	return passed("so the host says of %d processes", len(all))
}

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
