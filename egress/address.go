package egress

import (
	"net/netip"
)

// Class is what an address is for. All but Public are refused unless the operator names them.
type Class string

// The classes.
const (
	Public       Class = "public"
	Metadata     Class = "a cloud's metadata service"
	OwnHost      Class = "this host"
	Loopback     Class = "loopback"
	LinkLocal    Class = "link-local"
	Private      Class = "private"
	CarrierGrade Class = "carrier-grade NAT"
	Multicast    Class = "multicast or broadcast"
	Translated   Class = "an IPv4 address inside an IPv6 address"
	Reserved     Class = "reserved"
)

// network reports whether the class is of networks that an operator may have of their own.
func (c Class) network() bool {
	return c == Private || c == CarrierGrade || c == Reserved || c == Translated || c == LinkLocal
}

// metadata are the addresses at which clouds tell a machine's secrets to whoever asks: the common one, Amazon's for
// containers and over IPv6, Alibaba's, Oracle's, Azure's (a public one), Google's over IPv6, Tencent's, Scaleway's and Akamai's over IPv6.
var metadata = addrs("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "192.0.0.192", "168.63.129.16",
	"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "169.254.0.23", "169.254.42.42", "fd00:42::42", "fd00:a9fe:a9fe::1")

// special are the registries of special-purpose addresses (IANA, RFC 6890); the first match counts.
var special = []struct {
	prefix netip.Prefix
	class  Class
}{
	{netip.MustParsePrefix("0.0.0.0/8"), Loopback}, // Linux takes 0.0.0.0 for itself
	{netip.MustParsePrefix("10.0.0.0/8"), Private},
	{netip.MustParsePrefix("100.64.0.0/10"), CarrierGrade},
	{netip.MustParsePrefix("127.0.0.0/8"), Loopback},
	{netip.MustParsePrefix("169.254.0.0/16"), LinkLocal},
	{netip.MustParsePrefix("172.16.0.0/12"), Private},
	{netip.MustParsePrefix("192.0.0.0/24"), Reserved},
	{netip.MustParsePrefix("192.0.2.0/24"), Reserved},   // documentation
	{netip.MustParsePrefix("192.88.99.0/24"), Reserved}, // 6to4 relays
	{netip.MustParsePrefix("192.168.0.0/16"), Private},
	{netip.MustParsePrefix("198.18.0.0/15"), Reserved},   // benchmarks; a sandbox's names live there
	{netip.MustParsePrefix("198.51.100.0/24"), Reserved}, // documentation
	{netip.MustParsePrefix("203.0.113.0/24"), Reserved},  // documentation
	{netip.MustParsePrefix("224.0.0.0/4"), Multicast},
	{netip.MustParsePrefix("255.255.255.255/32"), Multicast},
	{netip.MustParsePrefix("240.0.0.0/4"), Reserved},
	{netip.MustParsePrefix("::1/128"), Loopback},
	{netip.MustParsePrefix("::/128"), Loopback},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), Translated}, // SIIT, RFC 2765
	{netip.MustParsePrefix("::/96"), Translated},           // IPv4-compatible
	{netip.MustParsePrefix("64:ff9b::/96"), Translated},    // NAT64
	{netip.MustParsePrefix("64:ff9b:1::/48"), Translated},
	{netip.MustParsePrefix("2001::/32"), Translated}, // Teredo
	{netip.MustParsePrefix("2002::/16"), Translated}, // 6to4
	{netip.MustParsePrefix("fc00::/7"), Private},
	{netip.MustParsePrefix("fe80::/10"), LinkLocal},
	{netip.MustParsePrefix("fec0::/10"), Private}, // site-local, withdrawn
	{netip.MustParsePrefix("ff00::/8"), Multicast},
	{netip.MustParsePrefix("2001::/23"), Reserved}, // protocol assignments
	{netip.MustParsePrefix("2001:db8::/32"), Reserved},
	{netip.MustParsePrefix("3fff::/20"), Reserved},
}

// globalUnicast is all that is given out of IPv6 (RFC 4291).
var globalUnicast = netip.MustParsePrefix("2000::/3")

// Classify says what an address is for, as far as that can be said without knowing the host. An IPv4 address that is
// mapped into IPv6 is what the IPv4 address is, because that is what the kernel dials. One that is translated on the way is
// what the IPv4 address is where that is not public, and Translated where it is. Invalid addresses and those with a zone are
// Reserved.
func Classify(a netip.Addr) Class {
	if !a.IsValid() || a.Zone() != "" {
		return Reserved
	}
	a = a.Unmap()
	if metadata[a] {
		return Metadata
	}
	for _, s := range special {
		if !s.prefix.Contains(a) {
			continue
		}
		if inner, ok := embedded(a); ok && s.class == Translated {
			if class := Classify(inner); class != Public {
				return class
			}
		}
		return s.class
	}
	if a.Is6() && !globalUnicast.Contains(a) {
		return Reserved
	}
	return Public
}

// embedded is the IPv4 address that a translator on the way would take out of an IPv6 address.
func embedded(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return netip.Addr{}, false
	}
	b := a.As16()
	at := 12
	switch {
	case b[0] == 0x20 && b[1] == 0x02: // 6to4, RFC 3056
		at = 2
	case b[0] == 0x20 && b[1] == 0x01: // Teredo, RFC 4380: every bit is turned round
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}), true
	}
	return netip.AddrFrom4([4]byte(b[at : at+4])), true
}

func addrs(texts ...string) map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	for _, text := range texts {
		all[netip.MustParseAddr(text)] = true
	}
	return all
}
