package netstack

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"apibuilder/egress"
	"apibuilder/egress/netns"
)

// accept decides about a connection that the sandbox asks for, makes it outside, and only then answers inside: a program
// sees at once that it was refused, as it would be told by the host that it wanted to reach.
func (n *Network) accept(r *tcp.ForwarderRequest) {
	if !n.begin() {
		r.Complete(false)
		return
	}
	defer n.work.Done()
	to, known := n.destination(r.ID())
	if !known {
		reason := egress.Unknown
		if to.Addr == netns.Outside && to.Port == dnsPort {
			reason = egress.ByTCP
		}
		n.guard.Refuse(&egress.Refusal{Reason: reason, What: to.String()})
		r.Complete(true)
		return
	}
	outside, err := n.guard.Dial(n.life, to)
	if err != nil {
		r.Complete(true)
		return
	}
	defer func() { _ = outside.Close() }()
	var events waiter.Queue
	endpoint, refused := r.CreateEndpoint(&events)
	r.Complete(refused != nil)
	if refused != nil {
		return
	}
	defer n.share(endpoint)()
	pass(endpoint, &events, outside)
}

// share gives a connection its part of the memory that a sandbox may use here, the less the more there are, and returns
// what gives it back: two may have the most, and thousands together have no more than eight times that.
func (n *Network) share(endpoint tcpip.Endpoint) func() {
	n.mu.Lock()
	n.open++
	size := bufferOf(n.open)
	n.mu.Unlock()
	endpoint.SocketOptions().SetReceiveBufferSize(size, true)
	endpoint.SocketOptions().SetSendBufferSize(size, true)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.open--
	}
}

// bufferOf is what the connection has, in bytes each way, that makes them so many. All before it were open when it came, so that
// those that are open never have more than the first so many.
func bufferOf(open int) int64 {
	return int64(max(leastBuffer, min(mostBuffer, mostBuffers/(open*max(1, open/16)))))
}

const (
	firstCopy = 4 << 10   // bytes: most connections move little, or wait
	mostCopy  = 256 << 10 // bytes at once
)
