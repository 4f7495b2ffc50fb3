package egress

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ownAddresses are those at which this host answers: what its routes lead to itself, which is known at once and may be whole ranges, and
// what its interfaces have, also those that are down, read again when that is older than ownAge. Its methods may be called concurrently.
type ownAddresses struct {
	mu     sync.Mutex
	all    map[netip.Addr]bool
	read   time.Time
	routes *routes
}

const ownAge = 2 * time.Second

// have reports whether an address is this host's. When that cannot be read, every address is.
func (o *ownAddresses) have(a netip.Addr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil || time.Since(o.read) > ownAge {
		list, err := net.InterfaceAddrs()
		if err != nil {
			return true
		}
		o.all, o.read = map[netip.Addr]bool{}, time.Now()
		for _, entry := range list {
			if p, err := netip.ParsePrefix(entry.String()); err == nil {
				o.all[p.Addr().Unmap()] = true
			}
		}
	}
	return o.all[a] || o.leadsHereLocked(a)
}

// noRoute are the kernel's answers for addresses to which nothing leads (ip-route(8): unreachable, prohibit, blackhole), or whose family
// it does not have.
var noRoute = []syscall.Errno{
	unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL, unix.ENETDOWN, unix.EAFNOSUPPORT, unix.EOPNOTSUPP, unix.ENODEV,
}

// leadsHereLocked asks the kernel where it would send a packet.
func (o *ownAddresses) leadsHereLocked(a netip.Addr) bool {
	if o.routes == nil {
		r, err := openRoutes()
		if err != nil {
			return true
		}
		o.routes = r
	}
	kind, err := o.routes.kind(a)
	if errno, ok := err.(syscall.Errno); ok { //nolint:errorlint // another's is wrapped
		return !slices.Contains(noRoute, errno)
	}
	if err != nil {
		o.routes.close() // what it would read next may be this answer
		o.routes = nil
		return true
	}
	return kind == unix.RTN_LOCAL || kind == unix.RTN_ANYCAST
}
