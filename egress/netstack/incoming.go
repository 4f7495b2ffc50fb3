package netstack

import (
	"errors"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"apibuilder/rawcall"
)

// leastKept is the least of a packet, in bytes, that stays in the memory that it was read into. What is smaller is copied, so that the
// memory behind a packet is never more than twice of what the stack counts for it.
const leastKept = mostPacket / 2

// leastApart is the least of a packet, in bytes, whose headers get memory of their own.
const leastApart = 4 << 10

// read hands every packet to the stack until the device is closed.
func (l *link) read() {
	var head [virtioHeader]byte
	space := buffer.NewViewSize(mostPacket)
	defer func() { space.Release() }()
	for {
		n, err := l.readPacket(head[:], space.AsSlice())
		if err != nil {
			return // closed, or its namespace is gone
		}
		if n <= 0 {
			continue
		}
		l.opening.Lock()   // see send
		l.opening.Unlock() //nolint:staticcheck // whoever had it has written
		tokens := tokensOf(space.AsSlice()[:n])
		if n < leastKept {
			l.deliver(buffer.NewViewWithData(space.AsSlice()[:n]))
		} else {
			space.CapLength(n)
			l.deliver(space)
			space = buffer.NewViewSize(mostPacket)
		}
		l.pace(tokens)
	}
}

// readPacket waits for a packet and returns its length without the header, at most 0 when there is none.
func (l *link) readPacket(head, packet []byte) (n int, err error) {
	parts := [][]byte{head, packet}
	closed := l.raw.Read(func(fd uintptr) bool {
		n, err = rawcall.Readv(fd, parts)
		return !rawcall.Waits(err)
	})
	return n - virtioHeader, errors.Join(closed, err)
}

// pace holds a sandbox that floods back: the device's queue fills, and what does not fit is lost in the sandbox.
func (l *link) pace(tokens int) {
	if delay := l.packets.ReserveN(time.Now(), tokens).Delay(); delay > 0 {
		time.Sleep(delay)
	}
}

// tokensOf is what a packet costs of packetRate: one where it is a connection's, and more where each is decided about, which takes
// longer and comes rarely but in a flood: the beginning of a connection, a look-up, and all that goes nowhere. What the packet says is
// not trusted.
func tokensOf(packet []byte) int {
	network := networkHeader(packet)
	if network == 0 || header.IPVersion(packet) == header.IPv4Version && packet[6]&0x3f|packet[7] != 0 { // the latter is a fragment
		return decisionTokens
	}
	if flags := header.TCPFlags(packet[network+header.TCPFlagsOffset]); flags&(header.TCPFlagSyn|header.TCPFlagAck) != header.TCPFlagAck {
		return decisionTokens
	}
	return 1
}

// deliver gives the stack a packet, and the memory that it is in.
func (l *link) deliver(packet *buffer.View) {
	var protocol tcpip.NetworkProtocolNumber
	switch header.IPVersion(packet.AsSlice()) {
	case header.IPv4Version:
		protocol = header.IPv4ProtocolNumber
	case header.IPv6Version:
		protocol = header.IPv6ProtocolNumber
	}
	dispatcher := l.dispatcher.Load()
	if protocol == 0 || dispatcher == nil {
		packet.Release()
		return
	}
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: split(packet)})
	(*dispatcher).DeliverNetworkPacket(protocol, p)
	p.DecRef()
}

// split gives the headers of a long TCP packet memory of their own: the stack copies all of what holds a header when it looks at one
// in a packet that it shares with itself.
func split(packet *buffer.View) buffer.Buffer {
	n := headers(packet.AsSlice())
	if n == 0 || packet.Size() < leastApart {
		return buffer.MakeWithView(packet)
	}
	b := buffer.MakeWithData(packet.AsSlice()[:n])
	packet.TrimFront(n)
	rest := buffer.MakeWithView(packet)
	b.Merge(&rest) // Append would fill what is left of the first with the beginning of the second
	return b
}

// headers is the length of the headers of a TCP packet that has more than those, and 0 for everything else. What the packet says
// is not trusted: the stack looks at it again.
func headers(packet []byte) int {
	network := networkHeader(packet)
	if network == 0 {
		return 0
	}
	transport := int(packet[network+header.TCPDataOffset]>>4) * 4
	if transport < header.TCPMinimumSize || len(packet) <= network+transport {
		return 0
	}
	return network + transport
}

// networkHeader is the length of the IP header of a packet that has a whole TCP header behind it, and 0 for everything else.
func networkHeader(packet []byte) int {
	network := 0
	switch {
	case len(packet) < header.IPv4MinimumSize:
	case header.IPVersion(packet) == header.IPv4Version && packet[9] == uint8(header.TCPProtocolNumber):
		network = int(packet[0]&0xf) * 4
	case header.IPVersion(packet) == header.IPv6Version && packet[6] == uint8(header.TCPProtocolNumber):
		network = header.IPv6MinimumSize
	}
	if network < header.IPv4MinimumSize || len(packet) < network+header.TCPMinimumSize {
		return 0
	}
	return network
}
