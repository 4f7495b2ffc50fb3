// Package netstack is the network of one sandbox, from its device on: gVisor's TCP/IP stack takes the packets apart, a guard
// decides about each connection and makes it, and bytes are passed between the two. Names get synthetic addresses, so that a
// connection still knows the name that it is to.
package netstack

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"apibuilder/egress"
	"apibuilder/egress/netns"
)

const (
	nic = 1

	mostHandshakes = 512 // that are decided about or dialled at a time; what is more waits for the sandbox's next try

	leastBuffer = 16 << 10 // bytes that the stack holds of a connection, each way
	mostBuffer  = 4 << 20
	mostBuffers = 8 << 20 // divided among the connections

	timeWait    = time.Second // both ends are on this machine: nothing of an old connection is under way
	finishWait  = 10 * time.Second
	closeLinger = time.Second
)

// Network is one sandbox's. Close must be called.
type Network struct {
	guard *egress.Guard
	stack *stack.Stack
	link  *link
	names *names
	life  context.Context
	end   context.CancelFunc

	forwarder *tcp.Forwarder

	mu      sync.Mutex
	closed  bool
	opening map[stack.TransportEndpointID]*opening
	shared  int // connections, which share the memory
	work    sync.WaitGroup
}

// Start takes over the device of a network namespace and serves the sandbox that is in it by a guard.
func Start(device *os.File, guard *egress.Guard) (*Network, error) {
	l, err := newLink(device, netns.MTU)
	if err != nil {
		return nil, fmt.Errorf("use the sandbox's network device: %w", err)
	}
	n := &Network{guard: guard, link: l, names: newNames(), opening: map[stack.TransportEndpointID]*opening{}}
	n.life, n.end = context.WithCancel(context.Background())
	n.stack = stack.New(stack.Options{
		// Without options that are given, IPv6 would look for others on the wire.
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocolWithOptions(ipv6.Options{})},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	if err := n.configure(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func (n *Network) configure() error {
	// The device loses nothing and keeps the order, so that a sandbox that is late with its answer is only that. RACK would take it for
	// loss, send again what arrived, and halve what may be under way (RFC 8985); selective acknowledgements find what was lost all the same.
	recovery := tcpip.TCPRecovery(0)
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(false)
	wait, finish, tries := tcpip.TCPTimeWaitTimeoutOption(timeWait), tcpip.TCPLingerTimeoutOption(finishWait), tcpip.TCPSynRetriesOption(3)
	sending := tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: 256 << 10, Max: mostBuffer}
	receiving := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: 256 << 10, Max: mostBuffer}
	for _, option := range []tcpip.SettableTransportProtocolOption{&recovery, &sack, &moderate, &wait, &finish, &tries, &sending, &receiving} {
		if err := n.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return fmt.Errorf("configure the network stack: %s", err)
		}
	}
	n.forwarder = tcp.NewForwarder(n.stack, 0, mostHandshakes, n.accept)
	n.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, n.open)
	n.stack.SetTransportProtocolHandler(udp.ProtocolNumber, n.refuseUDP)
	if err := n.stack.CreateNIC(nic, n.link); err != nil {
		return fmt.Errorf("attach the network stack: %s", err)
	}
	// Every address is answered for, because each stands for somebody outside.
	if err := n.stack.SetPromiscuousMode(nic, true); err != nil {
		return fmt.Errorf("configure the network stack: %s", err)
	}
	if err := n.stack.SetSpoofing(nic, true); err != nil {
		return fmt.Errorf("configure the network stack: %s", err)
	}
	own := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: toAddress(netns.Outside).WithPrefix()}
	if err := n.stack.AddProtocolAddress(nic, own, stack.AddressProperties{}); err != nil {
		return fmt.Errorf("configure the network stack: %s", err)
	}
	n.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	return n.serveNames()
}

// Close ends every connection and gives everything back. It may be called twice.
func (n *Network) Close() {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return
	}
	n.closed = true
	n.mu.Unlock()
	n.end()
	n.guard.Close()
	n.stack.Close()
	n.link.Close() // takes tens of milliseconds in the kernel
	n.work.Wait()
	n.stack.RemoveNIC(nic)
	n.stack.Wait()
}

// begin takes part in what Close waits for; false when it has begun.
func (n *Network) begin() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.work.Add(1)
	}
	return !n.closed
}

// destination is what an address inside stands for.
func (n *Network) destination(id stack.TransportEndpointID) (to egress.Destination, known bool) {
	a, _ := netip.AddrFromSlice(id.LocalAddress.AsSlice())
	to = egress.Destination{Addr: a, Port: id.LocalPort}
	if !synthetic.Contains(a) {
		return to, true
	}
	to.Name, known = n.names.name(a)
	return to, known
}

// refuseUDP is about every datagram that is not for the resolver; false has the stack answer that nobody is there.
func (n *Network) refuseUDP(id stack.TransportEndpointID, _ *stack.PacketBuffer) bool {
	to, _ := n.destination(id)
	if a := to.Addr; !a.IsMulticast() { // nothing goes there, and systems try by themselves
		n.guard.Refuse(&egress.Refusal{Reason: egress.NotTCP, What: to.String()})
	}
	return false
}

func toAddress(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }
