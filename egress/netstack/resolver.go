package netstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"apibuilder/egress"
	"apibuilder/egress/netns"
)

const (
	dnsPort     = 53
	mostQueries = 128 // at a time; what is more is lost, and asked again by the sandbox
	answerTTL   = 60  // seconds
)

// serveNames answers look-ups on the address that the sandbox's resolv.conf names.
func (n *Network) serveNames() error {
	own := tcpip.FullAddress{NIC: nic, Addr: toAddress(netns.Outside), Port: dnsPort}
	conn, err := gonet.DialUDP(n.stack, &own, nil, ipv4.ProtocolNumber)
	if err != nil {
		return fmt.Errorf("serve names to the sandbox: %w", err)
	}
	n.work.Go(func() {
		<-n.life.Done()
		_ = conn.Close()
	})
	n.work.Go(func() { n.answerNames(conn) })
	return nil
}

func (n *Network) answerNames(conn net.PacketConn) {
	places := make(chan struct{}, mostQueries)
	b := make([]byte, 4096)
	for {
		size, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		q, ok := readQuery(b[:size])
		if !ok {
			continue
		}
		select {
		case places <- struct{}{}:
		default:
			continue
		}
		n.work.Go(func() {
			defer func() { <-places }()
			_, _ = conn.WriteTo(n.answer(n.life, q), from)
		})
	}
}

// query is one question.
type query struct {
	header   dnsmessage.Header
	question dnsmessage.Question
}

// readQuery takes a message of one question, which is all that resolvers send.
func readQuery(b []byte) (q query, ok bool) {
	var p dnsmessage.Parser
	header, err := p.Start(b)
	if err != nil || header.Response || header.OpCode != 0 {
		return q, false
	}
	question, err := p.Question()
	return query{header, question}, err == nil
}

// answer makes the answer to a question. Names that may not be reached do not exist; those that may have one IPv4 address,
// through which servers with IPv6 alone are reached as well, and no other records.
func (n *Network) answer(ctx context.Context, q query) []byte {
	name := strings.TrimSuffix(strings.ToLower(q.question.Name.String()), ".")
	code := dnsmessage.RCodeSuccess
	var body dnsmessage.ResourceBody
	switch {
	case q.question.Class != dnsmessage.ClassINET:
		code = dnsmessage.RCodeNotImplemented
	case q.question.Type == dnsmessage.TypePTR:
		code, body = n.reverse(name)
	case q.question.Type == dnsmessage.TypeA:
		if code = rcode(n.guard.Lookup(ctx, name)); code == dnsmessage.RCodeSuccess {
			body = &dnsmessage.AResource{A: n.names.address(name).As4()}
		}
	case !n.guard.Knows(name):
		code = dnsmessage.RCodeNameError
	}
	return pack(q, code, body)
}

func rcode(err error) dnsmessage.RCode {
	if err == nil {
		return dnsmessage.RCodeSuccess
	}
	r, refused := errors.AsType[*egress.Refusal](err)
	if refused && r.Reason != egress.TooFast && r.Reason != egress.TooMany { // those may exist, and be there after a second
		return dnsmessage.RCodeNameError
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return dnsmessage.RCodeNameError
	}
	return dnsmessage.RCodeServerFailure
}

// reverse answers for an address that stands for a name; nobody else is asked.
func (n *Network) reverse(name string) (dnsmessage.RCode, dnsmessage.ResourceBody) {
	labels := strings.Split(strings.TrimSuffix(name, ".in-addr.arpa"), ".")
	if len(labels) == 4 {
		labels[0], labels[1], labels[2], labels[3] = labels[3], labels[2], labels[1], labels[0]
		if a, err := netip.ParseAddr(strings.Join(labels, ".")); err == nil {
			if found, ok := n.names.name(a); ok {
				if target, err := dnsmessage.NewName(found + "."); err == nil {
					return dnsmessage.RCodeSuccess, &dnsmessage.PTRResource{PTR: target}
				}
			}
		}
	}
	return dnsmessage.RCodeNameError, nil
}

func pack(q query, code dnsmessage.RCode, body dnsmessage.ResourceBody) []byte {
	m := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: q.header.ID, Response: true, Authoritative: true, RecursionDesired: q.header.RecursionDesired, RecursionAvailable: true, RCode: code,
		},
		Questions: []dnsmessage.Question{q.question},
	}
	if body != nil {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.question.Name, Class: dnsmessage.ClassINET, TTL: answerTTL}, Body: body,
		}}
	}
	b, err := m.Pack()
	if err != nil {
		return nil // a question that cannot be repeated gets no answer
	}
	return b
}
