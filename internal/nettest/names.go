package nettest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Names is a name server that says what the test wants, also lies. It answers by UDP at an address of a World.
type Names struct {
	address string

	mu      sync.Mutex
	records map[string][]netip.Addr
	asked   map[string]int
	each    func(name string, times int) []netip.Addr
	delay   time.Duration
}

// NewNames starts a server with records of IPv4 and IPv6 addresses; names have no dot at their end.
func NewNames(w *World, address string, records map[string][]string) *Names {
	n := &Names{address: address, records: map[string][]netip.Addr{}, asked: map[string]int{}}
	for name, list := range records {
		for _, text := range list {
			n.records[name] = append(n.records[name], netip.MustParseAddr(text))
		}
	}
	conn := w.ListenPacket(address)
	go n.serve(conn)
	return n
}

// Change has every look-up answered by f, which is told how often the name was asked for before; nil: the records count.
func (n *Names) Change(f func(name string, times int) []netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.each = f
}

// Delay has every answer wait so long.
func (n *Names) Delay(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = d
}

// Resolver asks this server, as the host's would.
func (n *Names) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, n.address)
	}}
}

func (n *Names) serve(conn net.PacketConn) {
	b := make([]byte, 4096)
	for {
		size, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b[:size]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		q := m.Questions[0]
		found, known := n.find(strings.ToLower(strings.TrimSuffix(q.Name.String(), ".")), q.Type)
		if !known {
			m.RCode = dnsmessage.RCodeNameError
		}
		for _, a := range found {
			head := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1}
			switch {
			case q.Type == dnsmessage.TypeA && a.Is4():
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: a.As4()}})
			case q.Type == dnsmessage.TypeAAAA && a.Is6():
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
			}
		}
		if out, err := m.Pack(); err == nil {
			n.mu.Lock()
			time.AfterFunc(n.delay, func() { _, _ = conn.WriteTo(out, from) })
			n.mu.Unlock()
		}
	}
}

func (n *Names) find(name string, kind dnsmessage.Type) ([]netip.Addr, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.each != nil {
		times := n.asked[name]
		if kind == dnsmessage.TypeA {
			n.asked[name]++
		}
		found := n.each(name, times)
		return found, found != nil
	}
	found, known := n.records[name]
	return found, known
}
