package selftest

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"apibuilder/egress"
)

// Network is what sandboxes of a run have of the network outside: a gate that lets their programs reach all that is public below a
// ceiling. It keeps what the gate refuses, and its resolver also knows names that lead to where nobody may go.
type Network struct {
	gate *egress.Gate
	host egress.Resolver // for all other names

	mu      sync.Mutex
	refused map[string][]egress.Reason // since forget, by what was refused
	turned  bool                       // turningTrap was looked up
}

// public is what the program of the checks may reach.
var public = egress.Policy{Internet: true}

// NewNetwork makes the network of one run.
func NewNetwork(ceiling *egress.Ceiling) *Network {
	n := &Network{host: egress.NewHostResolver()}
	n.forget()
	n.gate = egress.NewGate(egress.Config{Ceiling: ceiling, Resolver: n, Refused: n.remember})
	return n
}

// Gate is for the manager whose Launch the run has.
func (n *Network) Gate() *egress.Gate { return n.gate }

// remember is bounded by what the programs of the self-test try.
func (n *Network) remember(r *egress.Refusal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refused[r.What] = append(n.refused[r.What], r.Reason)
}

// forget drops what was refused so far. There may be no network.
func (n *Network) forget() {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refused = map[string][]egress.Reason{}
}

// reasons are those for which a target was refused.
func (n *Network) reasons(target string) []egress.Reason {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.refused[entry(target)])
}

// entry is a target as a refusal has it.
func entry(target string) string {
	if to, err := netip.ParseAddrPort(target); err == nil {
		return egress.Destination{Addr: to.Addr().Unmap(), Port: to.Port()}.String()
	}
	return strings.ToLower(target)
}

// trapDomain is one that nobody has (RFC 6761).
const trapDomain = ".selftest.invalid"

// traps are names that lead to where nobody may go.
var traps = map[string]string{
	"metadata": "169.254.169.254", "metadata6": "fd00:ec2::254", "private": "10.0.0.1", "private6": "fd00::1", "shared": "100.64.0.1",
	"link": "169.254.0.1", "mapped": "::ffff:10.0.0.1", "translated": "64:ff9b::a9fe:a9fe", "documentation": "192.0.2.1",
}

// loopbackTraps are names that lead to loopback.
var loopbackTraps = map[string]string{"loopback": "127.0.0.1", "loopback6": "::1", "unspecified": "0.0.0.0"}

// turningTrap leads to turningFrom when it is looked up first in a run, and to a private address from then on. The first is public, and
// of a network that is there to take what is meant for nobody (RFC 7535).
const (
	turningTrap = "turning"
	turningFrom = "192.31.196.1"
	turningTo   = "10.0.0.1"
)

// trapNames are the whole names.
func trapNames(traps ...string) []string {
	var names []string
	for _, trap := range slices.Sorted(slices.Values(traps)) {
		names = append(names, trap+trapDomain)
	}
	return names
}

// LookupNetIP implements egress.Resolver.
func (n *Network) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	trap, ok := strings.CutSuffix(host, trapDomain+".")
	if !ok {
		return n.host.LookupNetIP(ctx, network, host)
	}
	address := traps[trap] + loopbackTraps[trap]
	if trap == turningTrap {
		address = n.turn()
	}
	found, err := netip.ParseAddr(address)
	if err != nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{found}, nil
}

func (n *Network) turn() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.turned {
		n.turned = true
		return turningFrom
	}
	return turningTo
}
