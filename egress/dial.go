package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Dialing is a connection that is being made. Conn or Abandon must be called, once; its methods are for one goroutine at a time.
type Dialing struct {
	guard *Guard
	to    Destination
	began time.Time
	flow  *flow
	by    connector
	first attempt // where begun
	begun bool    // and Conn has only to complete it
	err   error   // of admission
}

// Begin decides about a connection and goes as far as that can without waiting: to an address, the kernel is asked for it.
func (g *Guard) Begin(to Destination) *Dialing {
	to.Addr = to.Addr.Unmap()
	d := &Dialing{guard: g, to: to}
	if d.flow, d.err = g.admit(to); d.err != nil {
		return d
	}
	d.began = time.Now()
	f := d.flow
	d.by = connector{decide: func(a netip.Addr) error { return g.address(f, a) }, life: f.life}
	if to.Name == "" && g.fresh.Allow() {
		d.by.decided = true // by admit
		d.first, d.begun = d.by.begin(netip.AddrPortFrom(to.Addr, to.Port)), true
	}
	return d
}

// Conn waits for the connection, or says why there is none, as Dial does.
func (d *Dialing) Conn(ctx context.Context) (*Conn, error) {
	c, err := d.conn(ctx)
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return nil, d.guard.refused(refusal)
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		d.guard.teller().say(fmt.Sprintf("egress: connect to %s: %v", d.to, plain(err)))
	}
	return c, err
}

// Abandon is for who has no use for the connection any more.
func (d *Dialing) Abandon() {
	if d.err == nil {
		d.first.close()
		d.guard.forget(d.flow)
	}
}

func (d *Dialing) conn(ctx context.Context) (*Conn, error) {
	if d.err != nil {
		return nil, d.err
	}
	g, f := d.guard, d.flow
	conn, err := d.connect(ctx)
	if err != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if f.life.Err() != nil {
			err = g.endedLocked(f)
		}
		g.forgetLocked(f)
		return nil, err
	}
	return g.keep(f, conn, d.began)
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
	g.holdLocked(1 - f.held)
	f.held = 1
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
	most, share := g.gate.cfg.Limits.Connections, g.gate.share()
	switch {
	case g.closed:
		return nil, net.ErrClosed
	case !g.policy.Allows(to):
		return nil, &Refusal{Reason: NotListed, What: to.String()}
	case !g.gate.cfg.Ceiling.permits(to):
		return nil, &Refusal{Reason: AboveCeiling, What: to.String()}
	case most > 0 && len(g.flows) >= most:
		return nil, &Refusal{Reason: TooMany, What: to.String(), Limit: fmt.Sprintf("more than %d connections at a time", most)}
	case g.held >= share:
		return nil, g.gate.crowded(to.String(), share)
	}
	g.rememberLocked(f)
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

// connect completes what was begun, or waits for the connection's turn, and makes it.
func (d *Dialing) connect(ctx context.Context) (*socket, error) {
	if d.begun {
		return d.by.complete(ctx, d.first, dialTimeout)
	}
	g, f := d.guard, d.flow
	ctx, cancel := context.WithDeadline(ctx, d.began.Add(turnTimeout+dialTimeout))
	defer cancel()
	defer context.AfterFunc(f.life, cancel)()
	if !turn(ctx, g.fresh) {
		return nil, &Refusal{Reason: TooFast, What: f.to.String(), Limit: fmt.Sprintf("more than %d new connections in a second", g.gate.cfg.Limits.PerSecond)}
	}
	if f.to.Name == "" {
		return d.by.connect(ctx, netip.AddrPortFrom(f.to.Addr, f.to.Port), dialTimeout)
	}
	found, err := g.gate.cfg.Resolver.LookupNetIP(ctx, "ip", f.to.Name+".")
	if err != nil {
		return nil, err
	}
	return d.by.race(ctx, found, f.to.Port)
}
