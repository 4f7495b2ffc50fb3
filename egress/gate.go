package egress

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Limits bound one sandbox. A zero field means its default, a negative one no bound.
type Limits struct {
	Connections int // at a time, those that are being made included; 256
	PerSecond   int // new connections, and look-ups as well; 100, after a burst of twice as many
	Bandwidth   int // bytes in a second, each way; 128 MiB
}

// DefaultLimits are for an operator who sets nothing.
var DefaultLimits = Limits{Connections: 256, PerSecond: 100, Bandwidth: 128 << 20}

func (l Limits) orDefault() Limits {
	or := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	or(&l.Connections, DefaultLimits.Connections)
	or(&l.PerSecond, DefaultLimits.PerSecond)
	or(&l.Bandwidth, DefaultLimits.Bandwidth)
	return l
}

// Resolver looks names up; *net.Resolver is one. Names have a dot at their end, so that nothing is added to them.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config is what a Gate needs.
type Config struct {
	Ceiling *Ceiling
	Limits  Limits
	// Files are the descriptors that connections and look-ups of all sandboxes have at a time; 0: no bound. One sandbox has at most a
	// sixteenth of what is left of them.
	Files int
	// Buffers are the bytes that the connections of all sandboxes may have under way in this process each way, beside 16 KiB for each of
	// them; 0: 256 MiB.
	Buffers int64
	// Resolver is asked for names; nil: this host's. What it answers is not believed but checked.
	Resolver Resolver
	// Refused, where it is set, is told every refusal before the program sees what comes of it. It is called concurrently, and must
	// not block.
	Refused func(*Refusal)
}

// Gate makes the guards of one server, and knows which API each works for. Its methods may be called concurrently.
type Gate struct {
	cfg     Config
	held    atomic.Int64 // descriptors of all guards
	buffers buffers

	mu   sync.Mutex
	turn uint64 // counts changes of policies, from 1
	apis map[string]*member
	gone []Use // what was not taken yet of APIs that are forgotten
}

// mostGone bounds what is kept of forgotten APIs.
const mostGone = 10_000

// Use is what an API's sandboxes did towards one destination since it was taken last.
type Use struct {
	API string
	Entry
}

// member is what the gate knows of one API.
type member struct {
	account *account
	guards  map[*Guard]bool
	policy  Policy // as Set said last
	turn    uint64 // when that was; 0: never
}

// NewGate makes a gate.
func NewGate(cfg Config) *Gate {
	cfg.Limits = cfg.Limits.orDefault()
	if cfg.Ceiling == nil {
		cfg.Ceiling = &Ceiling{}
	}
	if cfg.Resolver == nil {
		cfg.Resolver = NewHostResolver()
	}
	if cfg.Buffers == 0 {
		cfg.Buffers = defaultBuffers
	}
	return &Gate{cfg: cfg, buffers: buffers{left: cfg.Buffers}, turn: 1, apis: map[string]*member{}}
}

// filesPart is the part of the descriptors that are left which one sandbox may have: others that have few go on.
const filesPart = 16

// share is how many descriptors one sandbox may have now because of all the others.
func (g *Gate) share() int {
	all := g.cfg.Files
	if all == 0 {
		return math.MaxInt
	}
	return (max(0, all-int(g.held.Load())) + filesPart - 1) / filesPart
}

// crowded refuses what has no place in a share.
func (g *Gate) crowded(what string, share int) *Refusal {
	return &Refusal{Reason: TooMany, What: what, Limit: fmt.Sprintf(
		"more than %d connections and look-ups at a time, which others leave to one program of the server's %d", share, g.cfg.Files)}
}

// Check reports what of a policy could never be reached on this server, as an error with the remedy.
func (g *Gate) Check(p Policy) error { return g.cfg.Ceiling.Check(p) }

// Turn is a moment, never 0: a policy that was read after it is newer than what Set said before it.
func (g *Gate) Turn() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.turn
}

// Set gives all sandboxes of an API another policy at once. Connections that it does not allow are ended.
func (g *Gate) Set(api string, p Policy) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turn++
	m := g.memberLocked(api)
	m.policy, m.turn = p, g.turn
	for guard := range m.guards {
		guard.set(p)
	}
}

// APIs lists those that the gate knows.
func (g *Gate) APIs() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Keys(g.apis))
}

// Bound lists the APIs that have a guard now.
func (g *Gate) Bound() (apis []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for api, m := range g.apis {
		if len(m.guards) > 0 {
			apis = append(apis, api)
		}
	}
	return apis
}

// Since returns what Set said last of an API, and whether that was after a Turn.
func (g *Gate) Since(api string, turn uint64) (p Policy, newer bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.apis[api]; m != nil && m.turn > turn {
		return m.policy, true
	}
	return Policy{}, false
}

// Forget drops what is counted of an API that is gone. Its guards go on counting for nobody.
func (g *Gate) Forget(api string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.apis[api]; m != nil {
		if g.gone = append(g.gone, usesOf(api, m)...); len(g.gone) > mostGone {
			g.gone = g.gone[len(g.gone)-mostGone:]
		}
	}
	delete(g.apis, api)
}

// Take returns what was counted since it was called last, of all APIs, each destination once.
func (g *Gate) Take() []Use {
	g.mu.Lock()
	defer g.mu.Unlock()
	uses := g.gone
	g.gone = nil
	for _, api := range slices.Sorted(maps.Keys(g.apis)) {
		uses = append(uses, usesOf(api, g.apis[api])...)
	}
	return uses
}

func usesOf(api string, m *member) (uses []Use) {
	for _, e := range m.account.take() {
		uses = append(uses, Use{api, e})
	}
	return uses
}

// Report tells what an API's sandboxes did since the server started.
func (g *Gate) Report(api string) Report {
	g.mu.Lock()
	m := g.apis[api]
	g.mu.Unlock()
	if m == nil {
		return Report{}
	}
	return m.account.report()
}

func (g *Gate) memberLocked(api string) *member {
	m := g.apis[api]
	if m == nil {
		m = &member{account: newAccount(), guards: map[*Guard]bool{}}
		g.apis[api] = m
	}
	return m
}
