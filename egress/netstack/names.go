package netstack

import (
	"container/list"
	"net/netip"
	"sync"
)

// synthetic are the addresses that stand for names: the range for benchmarks (RFC 2544).
var synthetic = netip.MustParsePrefix("198.18.0.0/15")

const (
	firstSynthetic = 1 << 8 // of the range; those before are the sandbox's own
	lastSynthetic  = 1<<17 - 2
	mostNames      = 1024
)

// names gives each name that a sandbox asked for an address. When there are too many, the one whose use is longest ago goes,
// and its address comes again only after all others have. Its methods may be called concurrently.
type names struct {
	mu     sync.Mutex
	next   uint32
	byName map[string]*list.Element
	byAddr map[netip.Addr]*list.Element
	used   *list.List // of named; the latest first
}

type named struct {
	name string
	addr netip.Addr
}

func newNames() *names {
	return &names{next: firstSynthetic, byName: map[string]*list.Element{}, byAddr: map[netip.Addr]*list.Element{}, used: list.New()}
}

// address is the one of a name; it stays while the name is among the last that were used.
func (n *names) address(name string) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e := n.byName[name]; e != nil {
		n.used.MoveToFront(e)
		return e.Value.(named).addr //nolint:forcetypeassert // the list holds nothing else
	}
	if len(n.byName) >= mostNames {
		oldest := n.used.Remove(n.used.Back()).(named) //nolint:forcetypeassert // as above
		delete(n.byName, oldest.name)
		delete(n.byAddr, oldest.addr)
	}
	entry := named{name, n.freeLocked()}
	e := n.used.PushFront(entry)
	n.byName[name], n.byAddr[entry.addr] = e, e
	return entry.addr
}

func (n *names) freeLocked() netip.Addr {
	base := synthetic.Addr().As4()
	for {
		at := n.next
		if n.next++; n.next > lastSynthetic {
			n.next = firstSynthetic
		}
		a := netip.AddrFrom4([4]byte{base[0], base[1] + byte(at>>16), byte(at >> 8), byte(at)})
		if n.byAddr[a] == nil {
			return a
		}
	}
}

// name is what an address stands for.
func (n *names) name(a netip.Addr) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.byAddr[a]
	if e == nil {
		return "", false
	}
	n.used.MoveToFront(e)
	return e.Value.(named).name, true //nolint:forcetypeassert // the list holds nothing else
}
