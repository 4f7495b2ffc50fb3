package egress

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	dialTimeout   = 10 * time.Second
	lookupTimeout = 5 * time.Second
	turnTimeout   = 2 * time.Second // that a connection or a look-up waits for its turn when they come too fast
)

// Guard decides for one sandbox, and connects. It refuses everything until it is bound to an API. Its methods may be called
// concurrently.
type Guard struct {
	gate     *Gate
	fresh    *rate.Limiter // new connections
	lookups  *rate.Limiter
	sending  *rate.Limiter // bytes
	incoming *rate.Limiter

	mu      sync.Mutex
	policy  Policy
	api     string
	account *account
	sums    sums // since Sums
	tell    *teller
	flows   map[*flow]struct{}
	held    int // descriptors of flows and look-ups
	closed  bool
}

// flow is a connection, or one that is being made.
type flow struct {
	to     Destination
	life   context.Context // until it is ended
	end    context.CancelFunc
	conn   outside    // nil while it is being made
	dialed netip.Addr // of conn

	excepted []netip.Addr // those dialled that an exception of the operator's allows

	adopted bool // whether it is allowed is not for the policy to say
	held    int  // descriptors that it takes at the most

	sent, received atomic.Int64 // bytes that are in no sums yet
}

func newFlow(to Destination) *flow {
	f := &flow{to: to}
	f.life, f.end = context.WithCancel(context.Background())
	return f
}

// Guard makes a guard for a sandbox that has no program yet. Close must be called.
func (g *Gate) Guard() *Guard {
	l := g.cfg.Limits
	twice := 2 * min(l.PerSecond, math.MaxInt/2)
	return &Guard{
		gate: g, fresh: limiter(l.PerSecond, twice), lookups: limiter(l.PerSecond, twice),
		sending: limiter(l.Bandwidth, max(l.Bandwidth/8, mostAtOnce)), incoming: limiter(l.Bandwidth, max(l.Bandwidth/8, mostAtOnce)),
		account: newAccount(), sums: newSums(), tell: newTeller(nil), flows: map[*flow]struct{}{},
	}
}

func limiter(perSecond, burst int) *rate.Limiter {
	if perSecond < 0 {
		return rate.NewLimiter(rate.Inf, 1)
	}
	return rate.NewLimiter(rate.Limit(perSecond), burst)
}

// Bind makes the sandbox an API's, with a policy that was read since a Turn of the gate. Each line of report is for the
// API's author.
func (g *Guard) Bind(api string, p Policy, since uint64, report func(line string)) {
	g.gate.mu.Lock()
	defer g.gate.mu.Unlock()
	m := g.gate.memberLocked(api)
	if m.turn > since {
		p = m.policy
	}
	m.guards[g] = true
	g.mu.Lock()
	defer g.mu.Unlock()
	g.api, g.policy, g.account, g.sums, g.tell = api, p, m.account, newSums(), newTeller(report)
	if g.closed {
		delete(m.guards, g)
	}
}

// Close ends every connection. It may be called twice.
func (g *Guard) Close() {
	g.gate.mu.Lock()
	if m := g.gate.apis[g.api]; m != nil {
		delete(m.guards, g)
	}
	g.gate.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for f := range g.flows {
		f.abort()
	}
}

func (g *Guard) set(p Policy) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.policy = p
	for f := range g.flows {
		if !f.adopted && !f.allowed(p) {
			f.abort()
		}
	}
}

// allowed reports whether a policy allows the flow, as far as that is known of one that is being made.
func (f *flow) allowed(p Policy) bool {
	return p.Allows(f.to) && (f.conn == nil || !slices.Contains(f.excepted, f.dialed) || p.excepts(f.to, f.dialed))
}

// abort ends a flow with a reset.
func (f *flow) abort() {
	if f.conn != nil {
		_ = f.conn.SetLinger(0)
		_ = f.conn.Close()
	}
	f.end() // after that, so that who waits writes nothing more
}

// Lookup reports whether a program may know that a name exists: nil, a *Refusal, or the resolver's error.
func (g *Guard) Lookup(ctx context.Context, name string) error {
	name, err := cleanName(name)
	if err != nil {
		return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	if r := g.resolves(name); r != nil {
		return g.refused(r)
	}
	if !turn(ctx, g.lookups) {
		return g.refused(&Refusal{Reason: TooFast, What: name, Limit: fmt.Sprintf("more than %d look-ups in a second", g.gate.cfg.Limits.PerSecond)})
	}
	if r := g.resolves(name); r != nil { // another policy may have come
		return g.refused(r)
	}
	if r := g.hold(name, lookupHeld); r != nil {
		return g.refused(r)
	}
	defer g.letGo(lookupHeld)
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := g.gate.cfg.Resolver.LookupNetIP(ctx, "ip", name+".")
	if err == nil && len(found) == 0 {
		err = &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return err
}

// resolves is why a name may not be looked up, nil when it may.
func (g *Guard) resolves(name string) *Refusal {
	g.mu.Lock()
	listed := g.policy.resolves(name)
	g.mu.Unlock()
	switch {
	case !listed:
		return &Refusal{Reason: NotListed, What: name}
	case !g.gate.cfg.Ceiling.resolves(name):
		return &Refusal{Reason: AboveCeiling, What: name}
	}
	return nil
}

// turn waits until a limiter lets one more through, and reports whether it does soon enough.
func turn(ctx context.Context, l *rate.Limiter) bool {
	if ctx.Err() == nil && l.Allow() {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	return l.Wait(ctx) == nil
}

// Dial connects to where a program wants to, or says why not: a *Refusal, which the author has been told of, or what went
// wrong outside. Names are resolved now, and the decision is made again on each address that is tried.
func (g *Guard) Dial(ctx context.Context, to Destination) (*Conn, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return g.Begin(to).Conn(ctx)
}

// Adopt counts a connection that its caller made by a decision of its own, and ends it with the guard. It is the caller's no more.
func (g *Guard) Adopt(conn *net.TCPConn, to Destination) *Conn {
	f := newFlow(to)
	f.conn, f.adopted = conn, true
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		f.abort()
	} else {
		g.rememberLocked(f)
	}
	return g.connOf(f)
}

// lookupHeld are the descriptors that are open at a time while a name is looked up, for its IPv4 and its IPv6 addresses, or while those are tried.
const lookupHeld = 2

func (g *Guard) rememberLocked(f *flow) {
	g.flows[f] = struct{}{}
	f.held = 1
	if f.to.Name != "" && f.conn == nil {
		f.held = lookupHeld
	}
	g.holdLocked(f.held)
}

// holdLocked counts descriptors that are opened; n is negative when they are closed.
func (g *Guard) holdLocked(n int) {
	g.held += n
	g.gate.held.Add(int64(n))
}

// hold is holdLocked for n descriptors of a look-up, unless the sandbox may have no more because of all the others.
func (g *Guard) hold(what string, n int) *Refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	if share := g.gate.share(); g.held >= share {
		return g.gate.crowded(what, share)
	}
	g.holdLocked(n)
	return nil
}

func (g *Guard) letGo(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holdLocked(-n)
}

func (g *Guard) forget(f *flow) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forgetLocked(f)
}

func (g *Guard) forgetLocked(f *flow) {
	if _, ok := g.flows[f]; ok {
		delete(g.flows, f)
		g.holdLocked(-f.held)
	}
	g.sums.settle(f)
	f.end()
}

func (g *Guard) teller() *teller {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tell
}

// Refuse counts and tells a refusal that was decided elsewhere.
func (g *Guard) Refuse(r *Refusal) { _ = g.refused(r) }

func (g *Guard) refused(r *Refusal) error {
	g.mu.Lock()
	account, tell := g.account, g.tell
	g.sums.refuse(r.What)
	g.mu.Unlock()
	account.refuse(r.What)
	tell.say(r.Error())
	if told := g.gate.cfg.Refused; told != nil {
		told(r)
	}
	return r
}

// plain takes the parts off a dial error that name our own sockets, and the name servers that the host asks.
func plain(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		switch {
		case dns.IsNotFound:
			return errors.New("look the name up: no such host")
		case dns.IsTimeout:
			return errors.New("look the name up: no name server answered in time")
		}
		return errors.New("look the name up: the name servers failed")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// Knows reports whether the policies have a use for a name, without looking it up or telling anybody.
func (g *Guard) Knows(name string) bool {
	name, err := cleanName(name)
	g.mu.Lock()
	defer g.mu.Unlock()
	return err == nil && g.policy.resolves(name) && g.gate.cfg.Ceiling.resolves(name)
}
