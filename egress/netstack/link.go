package netstack

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// link is the stack's end of a TUN device with IFF_VNET_HDR: each packet has a virtio_net_hdr before it (linux/virtio_net.h),
// which says what of the packet is left to the other side, the checksum or the cutting into segments.
type link struct {
	device     *os.File
	raw        rawDevice
	mtu        uint32
	packets    *rate.Limiter // that the sandbox sends
	dispatcher atomic.Pointer[stack.NetworkDispatcher]
	reader     sync.WaitGroup
	closeOnce  sync.Once
}

// rawDevice is syscall.RawConn as far as it is used.
type rawDevice interface {
	Read(f func(fd uintptr) (done bool)) error
	Write(f func(fd uintptr) (done bool)) error
}

var (
	_ stack.LinkEndpoint = (*link)(nil)
	_ stack.GSOEndpoint  = (*link)(nil)
)

const (
	virtioHeader   = 10 // bytes
	needsChecksum  = 1  // VIRTIO_NET_HDR_F_NEEDS_CSUM
	segmentsTCPv4  = 1  // VIRTIO_NET_HDR_GSO_TCPV4
	segmentsTCPv6  = 4  // VIRTIO_NET_HDR_GSO_TCPV6
	mostPacket     = 1 << 16
	mostSegments   = 1<<16 - 1 // bytes of a packet that the kernel cuts, its headers included: the most of an IP packet
	packetRate     = 100_000   // in a second, and a tenth of it at once: what a sandbox may have this process look at
	framingAllowed = 16        // slices of a packet that is written
)

// newLink takes over the device.
func newLink(device *os.File, mtu uint32) (*link, error) {
	raw, err := device.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &link{device: device, raw: raw, mtu: mtu, packets: rate.NewLimiter(packetRate, packetRate/10)}, nil
}

// WritePackets implements stack.LinkWriter. A packet that the device does not take is lost, as on any wire.
func (l *link) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	for i, p := range packets.AsSlice() {
		if err := l.write(p); err != nil {
			return i, &tcpip.ErrClosedForSend{}
		}
	}
	return packets.Len(), nil
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
		for {
			if _, err = unix.Writev(int(fd), parts); !errors.Is(err, unix.EINTR) {
				return true
			}
		}
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

// Attach implements stack.NetworkLinkEndpoint.
func (l *link) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		l.dispatcher.Store(nil)
		return
	}
	if l.dispatcher.Swap(&d) == nil {
		l.reader.Go(l.read)
	}
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (l *link) IsAttached() bool { return l.dispatcher.Load() != nil }

// Close implements stack.NetworkLinkEndpoint: it ends the reader.
func (l *link) Close() { l.closeOnce.Do(func() { _ = l.device.Close() }) }

// Wait implements stack.NetworkLinkEndpoint.
func (l *link) Wait() { l.reader.Wait() }

// MTU implements stack.NetworkLinkEndpoint.
func (l *link) MTU() uint32 { return l.mtu }

// Capabilities implements stack.NetworkLinkEndpoint: the kernel inside is trusted with checksums, it only cheats itself.
func (*link) Capabilities() stack.LinkEndpointCapabilities { return stack.CapabilityRXChecksumOffload }

// SupportedGSO implements stack.GSOEndpoint.
func (*link) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }

// GSOMaxSize implements stack.GSOEndpoint.
func (*link) GSOMaxSize() uint32 { return mostSegments }

// The rest of stack.NetworkLinkEndpoint has no meaning here.

func (*link) SetMTU(uint32)                           {}
func (*link) MaxHeaderLength() uint16                 { return 0 }
func (*link) LinkAddress() tcpip.LinkAddress          { return "" }
func (*link) SetLinkAddress(tcpip.LinkAddress)        {}
func (*link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (*link) AddHeader(*stack.PacketBuffer)           {}
func (*link) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (*link) SetOnCloseAction(func())                 {}
