package netstack

import (
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// link is the stack's end of a TUN device with IFF_VNET_HDR: each packet has a virtio_net_hdr before it (linux/virtio_net.h),
// which says what of the packet is left to the other side, the checksum or the cutting into segments.
type link struct {
	device     io.Closer
	raw        rawDevice
	mtu        uint32
	packets    *rate.Limiter // that the sandbox sends
	dispatcher atomic.Pointer[stack.NetworkDispatcher]
	work       sync.WaitGroup
	closed     chan struct{}
	closeOnce  sync.Once

	opening sync.Mutex // of whoever writes a packet that opens a connection

	queue  chan *stack.PacketBuffer // for writeQueued
	queued atomic.Int32             // packets in it, and the one that is written
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
	packetRate     = 100_000   // tokens in a second, and a tenth of them at once: what a sandbox may have this process look at
	decisionTokens = 20        // of them, for a packet that is decided about: see tokensOf
	framingAllowed = 16        // slices of a packet that is written
	mostQueued     = 16        // packets that wait for writeQueued
)

// newLink takes over the device.
func newLink(device *os.File, mtu uint32) (*link, error) {
	raw, err := device.SyscallConn()
	if err != nil {
		return nil, err
	}
	return makeLink(device, raw, mtu), nil
}

func makeLink(device io.Closer, raw rawDevice, mtu uint32) *link {
	return &link{
		device: device, raw: raw, mtu: mtu, packets: rate.NewLimiter(packetRate, packetRate/10), closed: make(chan struct{}),
		queue: make(chan *stack.PacketBuffer, mostQueued),
	}
}

// Attach implements stack.NetworkLinkEndpoint.
func (l *link) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		l.dispatcher.Store(nil)
		return
	}
	if l.dispatcher.Swap(&d) == nil {
		l.work.Go(l.read)
		l.work.Go(l.writeQueued)
	}
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (l *link) IsAttached() bool { return l.dispatcher.Load() != nil }

// Close implements stack.NetworkLinkEndpoint: it ends the goroutines, and who waits to have a packet written.
func (l *link) Close() {
	l.closeOnce.Do(func() {
		close(l.closed)
		_ = l.device.Close()
	})
}

// Wait implements stack.NetworkLinkEndpoint.
func (l *link) Wait() { l.work.Wait() }

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
