package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// dial is Dial, which tells of its errors.
func (g *Guard) dial(ctx context.Context, to Destination) (*Conn, error) {
	f, err := g.admit(to)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	conn, err := g.connect(ctx, f)
	if err != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if f.life.Err() != nil {
			err = g.endedLocked(f)
		}
		g.forgetLocked(f)
		return nil, err
	}
	return g.keep(f, conn, began)
}

// askedAgain is the least time after which a system asks again for a connection that nobody answers (RFC 6298 says a second), wherever its
// address leads then.
const askedAgain = time.Second / 2

// keep takes a connection that was made, unless it may not be any more: another policy came, or its address has become this host's.
func (g *Guard) keep(f *flow, conn *socket, began time.Time) (*Conn, error) {
	f.dialed = conn.remote.Addr()
	var err error
	if time.Since(began) > askedAgain {
		err = g.address(f, f.dialed)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	f.conn = conn
	if g.closed || !f.allowed(g.policy) {
		err = g.endedLocked(f)
	}
	if err != nil {
		g.forgetLocked(f)
		f.abort()
		return nil, err
	}
	return g.connOf(f), nil
}

// endedLocked is why a connection ended while it was being made: a *Refusal, or net.ErrClosed with the guard.
func (g *Guard) endedLocked(f *flow) error {
	if g.closed {
		return net.ErrClosed
	}
	return &Refusal{Reason: NotListed, What: f.to.String()}
}

// admit takes a place for a connection.
func (g *Guard) admit(to Destination) (*flow, error) {
	f := newFlow(to)
	if to.Name == "" {
		if err := g.address(f, to.Addr); err != nil {
			return nil, err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	most := g.gate.cfg.Limits.Connections
	switch {
	case g.closed:
		return nil, net.ErrClosed
	case !g.policy.Allows(to):
		return nil, &Refusal{Reason: NotListed, What: to.String()}
	case !g.gate.cfg.Ceiling.permits(to):
		return nil, &Refusal{Reason: AboveCeiling, What: to.String()}
	case most > 0 && len(g.flows) >= most:
		return nil, &Refusal{Reason: TooMany, What: to.String(), Limit: fmt.Sprintf("more than %d connections at a time", most)}
	}
	g.flows[f] = struct{}{}
	return f, nil
}

// address decides about an address that is about to be dialled; its error is a *Refusal.
func (g *Guard) address(f *flow, a netip.Addr) error {
	g.mu.Lock()
	p := g.policy
	g.mu.Unlock()
	excepted, refusal := g.gate.cfg.Ceiling.address(p, f.to, a)
	if refusal != nil {
		return refusal
	}
	if excepted {
		g.mu.Lock()
		defer g.mu.Unlock()
		f.excepted = append(f.excepted, a.Unmap())
	}
	return nil
}

// connect waits for the connection's turn, and makes it.
func (g *Guard) connect(ctx context.Context, f *flow) (*socket, error) {
	end := time.Now().Add(turnTimeout + dialTimeout)
	c := connector{decide: func(a netip.Addr) error { return g.address(f, a) }, life: f.life}
	if f.to.Name == "" && ctx.Err() == nil && g.fresh.Allow() {
		c.decided = true // by admit
		return c.connect(ctx, netip.AddrPortFrom(f.to.Addr, f.to.Port), dialTimeout)
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	defer context.AfterFunc(f.life, cancel)()
	if !turn(ctx, g.fresh) {
		return nil, &Refusal{Reason: TooFast, What: f.to.String(), Limit: fmt.Sprintf("more than %d new connections in a second", g.gate.cfg.Limits.PerSecond)}
	}
	if f.to.Name == "" {
		return c.connect(ctx, netip.AddrPortFrom(f.to.Addr, f.to.Port), dialTimeout)
	}
	found, err := g.gate.cfg.Resolver.LookupNetIP(ctx, "ip", f.to.Name+".")
	if err != nil {
		return nil, err
	}
	return c.race(ctx, found, f.to.Port)
}
