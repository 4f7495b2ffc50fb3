package netstack

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// keeper is a stack that keeps what it is given.
type keeper struct {
	stack.NetworkDispatcher
	protocol tcpip.NetworkProtocolNumber
	packet   []byte
	parts    int
}

func (k *keeper) DeliverNetworkPacket(protocol tcpip.NetworkProtocolNumber, p *stack.PacketBuffer) {
	k.protocol, k.packet, k.parts = protocol, bytes.Join(p.AsSlices(), nil), len(p.AsSlices())
}

// deliver is what the stack is given of a packet from the device.
func deliver(packet []byte) keeper {
	var k keeper
	var d stack.NetworkDispatcher = &k
	l := &link{}
	l.dispatcher.Store(&d)
	l.deliver(buffer.NewViewWithData(packet))
	return k
}

const (
	packet4     = "45000000000000004006000000000000000000000000000000000000000000005000000000000000"
	packet6     = "6000000000000640" + "00000000000000000000000000000000" + "00000000000000000000000000000000" + "0000000000000000000000008000000000000000" + "000000000000000000000000"
	withOptions = "46000000000000004006000000000000000000000000000000000000000000000000000060000000000000000000000000"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHeadersApart(t *testing.T) {
	for _, c := range []struct {
		name, packet string
		want         int
	}{
		{"IPv4", packet4 + "01", 40},
		{"IPv4 without data", packet4, 0},
		{"IPv4 with options of both", withOptions + "0102", 48},
		{"IPv6 with options of TCP", packet6 + "01", 72},
		{"IPv6 that ends in its options", packet6, 0},
		{"UDP", strings.Replace(packet4, "4006", "4011", 1) + "01", 0},
		{"a header of IP that is too short", "44" + packet4[2:] + "01", 0},
		{"a header of TCP that is too short", packet4[:64] + "40" + packet4[66:] + "01", 0},
		{"a header of TCP that is longer than the packet", packet4[:64] + "f0" + packet4[66:] + "01", 0},
		{"nothing", "", 0},
		{"a beginning", packet4[:60], 0},
	} {
		packet := unhex(t, c.packet)
		if n := headers(packet); n != c.want {
			t.Errorf("%s: %d bytes of headers, not %d", c.name, n, c.want)
		}
		if got := deliver(packet); got.parts > 1 {
			t.Errorf("%s: the stack is given %d parts of a short packet", c.name, got.parts)
		}
		long := slices.Concat(packet, make([]byte, leastApart))
		if got := deliver(long); got.parts > 0 && (got.parts == 2) != (headers(long) > 0) {
			t.Errorf("%s: the stack is given %d parts of a long packet", c.name, got.parts)
		}
	}
}

func TestTokens(t *testing.T) {
	flags := func(packet, value string) string { return packet[:len(packet)-14] + value + packet[len(packet)-12:] }
	for _, c := range []struct {
		name, packet string
		want         int
	}{
		{"an acknowledgement", flags(packet4, "10"), 1},
		{"data", flags(packet4, "18") + "01", 1},
		{"the end of a connection", flags(packet4, "11"), 1},
		{"one that must not be cut", packet4[:12] + "4000" + flags(packet4, "10")[16:], 1},
		{"IPv6", packet6[:106] + "10" + packet6[108:], 1},
		{"the beginning of a connection", flags(packet4, "02"), decisionTokens},
		{"the beginning of one of IPv6", packet6[:106] + "02" + packet6[108:], decisionTokens},
		{"an answer to a beginning", flags(packet4, "12"), decisionTokens},
		{"no flags", packet4, decisionTokens},
		{"UDP", strings.Replace(flags(packet4, "10"), "4006", "4011", 1), decisionTokens},
		{"IPv6 with more headers", packet6[:12] + "00" + packet6[14:106] + "10" + packet6[108:], decisionTokens},
		{"a first fragment", packet4[:12] + "2000" + flags(packet4, "10")[16:], decisionTokens},
		{"another fragment", packet4[:12] + "0001" + flags(packet4, "10")[16:], decisionTokens},
		{"a beginning", packet4[:60], decisionTokens},
		{"nothing", "", decisionTokens},
	} {
		if n := tokensOf(unhex(t, c.packet)); n != c.want {
			t.Errorf("%s: %d tokens, not %d", c.name, n, c.want)
		}
	}
}

func FuzzDeliver(f *testing.F) {
	for _, text := range []string{"", packet4, packet6, withOptions} {
		f.Add(unhex(f, text))
		f.Add(unhex(f, text+"0102030405"))
		f.Add(slices.Concat(unhex(f, text), make([]byte, leastApart)))
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) > mostPacket {
			return
		}
		got := deliver(packet)
		switch version := header.IPVersion(packet); version {
		case header.IPv4Version, header.IPv6Version:
			if !bytes.Equal(got.packet, packet) || (got.protocol == header.IPv4ProtocolNumber) != (version == header.IPv4Version) {
				t.Errorf("%x arrives as %x of protocol %d", packet, got.packet, got.protocol)
			}
		default:
			if got.protocol != 0 {
				t.Errorf("%x is given to the stack", packet)
			}
		}
	})
}
