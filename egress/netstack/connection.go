package netstack

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"apibuilder/egress"
	"apibuilder/egress/netns"
)

// open is about every packet of a connection that the stack does not know. One that asks for a connection has it decided about and begun, before
// another goroutine has to run for it.
func (n *Network) open(id stack.TransportEndpointID, p *stack.PacketBuffer) bool {
	if h := p.TransportHeader().Slice(); len(h) < header.TCPMinimumSize ||
		header.TCP(h).Flags()&(header.TCPFlagSyn|header.TCPFlagAck) != header.TCPFlagSyn {
		n.link.pace(decisionTokens) // it looked like a connection's, and is none's
		return n.forwarder.HandlePacket(id, p)
	}
	n.mu.Lock()
	_, known := n.opening[id]
	full := len(n.opening) >= mostHandshakes
	n.mu.Unlock()
	if known || full {
		return true // the sandbox asks again
	}
	to, means := n.destination(id)
	o := &opening{to: to}
	if means {
		o.dialing = n.guard.Begin(to)
	}
	n.mu.Lock()
	n.opening[id] = o
	n.mu.Unlock()
	if !n.forwarder.HandlePacket(id, p) {
		n.opened(id, func() {})
		o.abandon()
		return false
	}
	return true
}

// opened ends what is known of a connection that a sandbox asked for; complete tells the forwarder.
func (n *Network) opened(id stack.TransportEndpointID, complete func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	complete() // nobody may find one that the forwarder has and this does not, which it would not call accept for
	delete(n.opening, id)
}

// opening is a connection that a sandbox asks for.
type opening struct {
	to      egress.Destination
	dialing *egress.Dialing // nil: the address means nothing
}

func (o *opening) abandon() {
	if o.dialing != nil {
		o.dialing.Abandon()
	}
}

// accept completes a connection that the sandbox asks for, and only then answers inside: a program sees at once that it was refused, as
// it would be told by the host that it wanted to reach.
func (n *Network) accept(r *tcp.ForwarderRequest) {
	growAcceptStack(false)
	id := r.ID()
	n.mu.Lock()
	o := n.opening[id]
	n.mu.Unlock()
	complete := func(refused bool) { n.opened(id, func() { r.Complete(refused) }) }
	if !n.begin() {
		o.abandon()
		complete(false)
		return
	}
	defer n.work.Done()
	if o.dialing == nil {
		reason := egress.Unknown
		if o.to.Addr == netns.Outside && o.to.Port == dnsPort {
			reason = egress.ByTCP
		}
		n.guard.Refuse(&egress.Refusal{Reason: reason, What: o.to.String()})
		complete(true)
		return
	}
	outside, err := o.dialing.Conn(n.life)
	if err != nil {
		complete(true)
		return
	}
	defer func() { _ = outside.Close() }()
	var events waiter.Queue
	endpoint, refused := r.CreateEndpoint(&events)
	complete(refused != nil)
	if refused != nil {
		return
	}
	size, giveBack := n.share(endpoint)
	defer giveBack()
	if size < leastUnbounded {
		_ = outside.BoundBuffers(outsideBuffer) // a connection that has ended meanwhile holds nothing
	}
	pass(endpoint, &events, outside, size)
}

// share gives a connection its part of the memory that a sandbox may use here, in bytes each way, the less the more there are, and returns
// what gives it back: two may have the most, and thousands together have no more than eight times that. Where many sandboxes have
// connections it is less.
func (n *Network) share(endpoint tcpip.Endpoint) (size int64, giveBack func()) {
	n.mu.Lock()
	n.shared++
	size = bufferOf(n.shared)
	n.mu.Unlock()
	size = n.guard.Buffers(leastBuffer, size)
	endpoint.SocketOptions().SetReceiveBufferSize(size, true)
	endpoint.SocketOptions().SetSendBufferSize(size, true)
	return size, func() {
		n.guard.GiveBack(size)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.shared--
	}
}

// bufferOf is what the connection has, in bytes each way, that makes them so many. All before it were open when it came, so that
// those that are open never have more than the first so many.
func bufferOf(open int) int64 {
	return int64(max(leastBuffer, min(mostBuffer, mostBuffers/(open*max(1, open/16)))))
}

// The system grows the buffers of a connection to a server, up to ten megabytes of what all connections of the host have together (tcp_mem, tcp(7)):
// those of a program's first ones alone.
const (
	leastUnbounded = mostBuffers / 8 // bytes that the stack holds of such a one
	outsideBuffer  = 256 << 10       // bytes each way of the others
)

const (
	firstCopy = 4 << 10   // bytes: most connections move little, or wait
	mostCopy  = 256 << 10 // bytes at once
)
