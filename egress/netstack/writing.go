package netstack

import (
	"encoding/binary"
	"errors"
	"io"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"apibuilder/rawcall"
)

// WritePackets implements stack.LinkWriter. A packet that the device does not take is lost, as on any wire.
func (l *link) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	for i, p := range packets.AsSlice() {
		if err := l.send(p); err != nil {
			return i, &tcpip.ErrClosedForSend{}
		}
	}
	return packets.Len(), nil
}

// leastQueued is the least of a packet, in bytes, whose writing is worth another goroutine: what a server sends much of has no smaller ones.
const leastQueued = 16 << 10

// send writes a packet, or has writeQueued do it: when it is long, so that the stack, which holds its connection meanwhile, goes on, and
// reads what comes next while this one is copied into the sandbox; and when others wait, so that none overtakes them.
//
// The program's answer to what takes its connection is there before the system call returns. The stack still holds the connection then, and its
// processor would spin until it does not, so read waits. That wakes a thread once the program has been answered; to have another goroutine write
// does so before.
func (l *link) send(p *stack.PacketBuffer) error {
	if p.Size() < leastQueued && l.queued.Load() == 0 {
		if opens(p) {
			l.opening.Lock()
			defer l.opening.Unlock()
		}
		return l.write(p)
	}
	l.queued.Add(1)
	select {
	case l.queue <- p.IncRef():
		return nil
	case <-l.closed:
		p.DecRef()
		return io.ErrClosedPipe
	}
}

// opens reports whether a packet offers a connection, or takes one.
func opens(p *stack.PacketBuffer) bool {
	h := p.TransportHeader().Slice()
	return p.TransportProtocolNumber == header.TCPProtocolNumber && len(h) >= header.TCPMinimumSize && header.TCP(h).Flags().Contains(header.TCPFlagSyn)
}

// writeQueued writes what waits, until the link is closed.
func (l *link) writeQueued() {
	for {
		select {
		case p := <-l.queue:
			_ = l.write(p) // of a device that is gone the next one is told
			p.DecRef()
			l.queued.Add(-1)
		case <-l.closed:
			return // what waits is the collector's
		}
	}
}

func (l *link) write(p *stack.PacketBuffer) (err error) {
	var head [virtioHeader]byte
	describe(&head, p)
	parts := append(make([][]byte, 0, framingAllowed), head[:])
	parts = append(parts, p.AsSlices()...)
	if len(parts) > framingAllowed*8 {
		parts = [][]byte{head[:], flatten(parts[1:])}
	}
	closed := l.raw.Write(func(fd uintptr) bool {
		_, err = rawcall.Writev(fd, parts)
		return true
	})
	if closed != nil {
		return io.ErrClosedPipe
	}
	if errors.Is(err, unix.EBADFD) || errors.Is(err, unix.EBADF) {
		return err
	}
	return nil
}

// describe fills in the header for what the stack has left to the kernel.
func describe(head *[virtioHeader]byte, p *stack.PacketBuffer) {
	o := p.GSOOptions
	if o.Type == stack.GSONone {
		return
	}
	order := binary.NativeEndian
	order.PutUint16(head[2:], uint16(p.HeaderSize()))
	if o.NeedsCsum {
		head[0] = needsChecksum
		order.PutUint16(head[6:], o.L3HdrLen)
		order.PutUint16(head[8:], o.CsumOffset)
	}
	if p.Data().Size() > int(o.MSS) {
		head[1] = segmentsTCPv4
		if o.Type == stack.GSOTCPv6 {
			head[1] = segmentsTCPv6
		}
		order.PutUint16(head[4:], o.MSS)
	}
}

func flatten(parts [][]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
