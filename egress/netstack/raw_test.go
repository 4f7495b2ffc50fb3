package netstack

import (
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"apibuilder/egress"
)

// device is a network whose device is a pair of sockets, and the sandbox's end of it, to which packets are written as they are.
func device(t *testing.T) *os.File {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	guard := egress.NewGate(egress.Config{}).Guard()
	network, err := Start(os.NewFile(uintptr(fds[0]), "device"), guard)
	if err != nil {
		t.Fatal(err)
	}
	inside := os.NewFile(uintptr(fds[1]), "inside")
	t.Cleanup(func() {
		network.Close()
		_ = inside.Close()
	})
	return inside
}

// segmentOf is a TCP segment of IPv4 without data, with the header of the device before it.
func segmentOf(from, to netip.AddrPort, flags header.TCPFlags) []byte {
	b := make([]byte, virtioHeader+header.IPv4MinimumSize+header.TCPMinimumSize)
	ip := header.IPv4(b[virtioHeader:])
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(ip)), TTL: 64, Protocol: uint8(header.TCPProtocolNumber),
		SrcAddr: tcpip.AddrFromSlice(from.Addr().AsSlice()), DstAddr: tcpip.AddrFromSlice(to.Addr().AsSlice()),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	header.TCP(ip[header.IPv4MinimumSize:]).Encode(&header.TCPFields{
		SrcPort: from.Port(), DstPort: to.Port(), DataOffset: header.TCPMinimumSize, Flags: flags,
	})
	return b
}

// TestAcknowledgementsOfNothing floods the network with packets that look like those of connections, of which there are none: no more are
// answered than of others that go nowhere.
func TestAcknowledgementsOfNothing(t *testing.T) {
	const perSecond, atOnce = packetRate / decisionTokens, packetRate / 10 / decisionTokens
	inside := device(t)
	var answered atomic.Int64
	go func() {
		for b := make([]byte, mostPacket); ; answered.Add(1) {
			if _, err := inside.Read(b); err != nil {
				return
			}
		}
	}()
	began := time.Now()
	_ = inside.SetWriteDeadline(began.Add(500 * time.Millisecond))
	for port := uint16(1); ; port++ {
		from := netip.AddrPortFrom(netip.MustParseAddr("198.18.0.2"), port)
		if _, err := inside.Write(segmentOf(from, netip.MustParseAddrPort("93.184.216.34:443"), header.TCPFlagAck)); err != nil {
			break
		}
	}
	if n, most := answered.Load(), atOnce+int64(1.2*perSecond*time.Since(began).Seconds()); n < 10 || n > most {
		t.Errorf("%d are answered, at most %d are wanted", n, most)
	}
}
