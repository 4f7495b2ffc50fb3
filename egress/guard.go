package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

const (
	dialTimeout   = 10 * time.Second
	lookupTimeout = 5 * time.Second
	turnTimeout   = 2 * time.Second // that a connection waits for its turn when they come too fast
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
	tell    *teller
	flows   map[*flow]struct{}
	closed  bool
}

// flow is a connection, or one that is being made.
type flow struct {
	to     Destination
	life   context.Context // until it is ended
	end    context.CancelFunc
	conn   *net.TCPConn // nil while it is being made
	dialed netip.Addr   // of conn
	class  Class        // of dialed

	adopted bool // whether it is allowed is not for the policy to say
}

func newFlow(to Destination) *flow {
	f := &flow{to: to}
	f.life, f.end = context.WithCancel(context.Background())
	return f
}

// Guard makes a guard for a sandbox that has no program yet. Close must be called.
func (g *Gate) Guard() *Guard {
	l := g.cfg.Limits
	perSecond := limiter(l.PerSecond, 2*l.PerSecond)
	return &Guard{
		gate: g, fresh: perSecond, lookups: limiter(l.PerSecond, 2*l.PerSecond),
		sending: limiter(l.Bandwidth, max(l.Bandwidth/8, mostAtOnce)), incoming: limiter(l.Bandwidth, max(l.Bandwidth/8, mostAtOnce)),
		account: newAccount(), tell: newTeller(nil), flows: map[*flow]struct{}{},
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
	g.api, g.policy, g.account, g.tell = api, p, m.account, newTeller(report)
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
	return p.Allows(f.to) && (f.conn == nil || f.class == Public || p.excepts(f.to, f.dialed))
}

// abort ends a flow with a reset.
func (f *flow) abort() {
	f.end()
	if f.conn != nil {
		_ = f.conn.SetLinger(0)
		_ = f.conn.Close()
	}
}

// Lookup reports whether a program may know that a name exists: nil, a *Refusal, or the resolver's error.
func (g *Guard) Lookup(ctx context.Context, name string) error {
	name, err := cleanName(name)
	if err != nil {
		return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	g.mu.Lock()
	listed := g.policy.resolves(name)
	g.mu.Unlock()
	switch {
	case !listed:
		return g.refused(&Refusal{Reason: NotListed, What: name})
	case !g.gate.cfg.Ceiling.resolves(name):
		return g.refused(&Refusal{Reason: AboveCeiling, What: name})
	case !g.lookups.Allow():
		return g.refused(&Refusal{Reason: TooFast, What: name, Limit: fmt.Sprintf("more than %d look-ups in a second", g.gate.cfg.Limits.PerSecond)})
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := g.gate.cfg.Resolver.LookupNetIP(ctx, "ip", name+".")
	if err == nil && len(found) == 0 {
		err = &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return err
}

// Dial connects to where a program wants to, or says why not: a *Refusal, which the author has been told of, or what went
// wrong outside. Names are resolved now, and the decision is made again on each address that is tried.
func (g *Guard) Dial(ctx context.Context, to Destination) (*Conn, error) {
	to.Addr = to.Addr.Unmap()
	f, refusal := g.admit(to)
	if refusal != nil {
		return nil, g.refused(refusal)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout+turnTimeout)
	defer cancel()
	defer context.AfterFunc(f.life, cancel)()
	conn, err := g.connect(ctx, f)
	if err != nil {
		g.forget(f)
		if refusal, ok := errors.AsType[*Refusal](err); ok {
			return nil, g.refused(refusal)
		}
		g.teller().say(fmt.Sprintf("egress: connect to %s: %v", to, plain(err)))
		return nil, err
	}
	f.dialed = conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap() //nolint:forcetypeassert // of a TCP connection
	f.class = g.gate.cfg.Ceiling.classify(f.dialed)
	g.mu.Lock()
	defer g.mu.Unlock()
	f.conn = conn
	if g.closed || !f.allowed(g.policy) { // while it was being made
		g.forgetLocked(f)
		f.abort()
		return nil, net.ErrClosed
	}
	return g.connOf(f), nil
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
		g.flows[f] = struct{}{}
	}
	return g.connOf(f)
}

// admit takes a place for a connection.
func (g *Guard) admit(to Destination) (*flow, *Refusal) {
	if to.Name == "" {
		if refusal := g.address(to, to.Addr); refusal != nil {
			return nil, refusal
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	most := g.gate.cfg.Limits.Connections
	switch {
	case !g.policy.Allows(to):
		return nil, &Refusal{Reason: NotListed, What: to.String()}
	case !g.gate.cfg.Ceiling.permits(to):
		return nil, &Refusal{Reason: AboveCeiling, What: to.String()}
	case g.closed || most > 0 && len(g.flows) >= most:
		return nil, &Refusal{Reason: TooMany, What: to.String(), Limit: fmt.Sprintf("more than %d connections at a time", most)}
	}
	f := newFlow(to)
	g.flows[f] = struct{}{}
	return f, nil
}

// address decides about the address that is about to be dialled for a destination; nil when it may be.
func (g *Guard) address(to Destination, a netip.Addr) *Refusal {
	g.mu.Lock()
	p := g.policy
	g.mu.Unlock()
	return g.gate.cfg.Ceiling.address(p, to, a)
}

// connect waits for the connection's turn and dials.
func (g *Guard) connect(ctx context.Context, f *flow) (*net.TCPConn, error) {
	wait, cancel := context.WithTimeout(ctx, turnTimeout)
	err := g.fresh.Wait(wait)
	cancel()
	if err != nil {
		return nil, &Refusal{Reason: TooFast, What: f.to.String(), Limit: fmt.Sprintf("more than %d new connections in a second", g.gate.cfg.Limits.PerSecond)}
	}
	dialer := g.gate.dialer
	dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		dialed, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("read the address to dial: %w", err)
		}
		if refusal := g.address(f.to, dialed.Addr()); refusal != nil {
			return refusal
		}
		return nil
	}
	if f.to.Name == "" {
		return g.dialAddr(ctx, &dialer, netip.AddrPortFrom(f.to.Addr, f.to.Port))
	}
	found, err := g.gate.cfg.Resolver.LookupNetIP(ctx, "ip", f.to.Name+".")
	if err != nil {
		return nil, err
	}
	return g.race(ctx, &dialer, found, f.to.Port)
}

func (g *Guard) dialAddr(ctx context.Context, d *net.Dialer, to netip.AddrPort) (*net.TCPConn, error) {
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil //nolint:forcetypeassert // that is what "tcp" is, see net.Dial
}

func (g *Guard) forget(f *flow) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forgetLocked(f)
}

func (g *Guard) forgetLocked(f *flow) {
	delete(g.flows, f)
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
	g.mu.Unlock()
	account.refuse(r.What)
	tell.say(r.Error())
	return r
}

// plain takes the parts off a dial error that name our own sockets.
func plain(err error) error {
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
