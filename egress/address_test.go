package egress

import (
	"net/netip"
	"testing"
)

func TestClassify(t *testing.T) {
	for text, want := range map[string]Class{
		"8.8.8.8": Public, "1.1.1.1": Public, "100.63.255.255": Public, "172.32.0.1": Public, "2606:4700::1111": Public,
		"169.254.169.254": Metadata, "100.100.100.200": Metadata, "168.63.129.16": Metadata, "fd00:ec2::254": Metadata, "192.0.0.192": Metadata,
		"169.254.0.23": Metadata, "169.254.42.42": Metadata, "fd00:42::42": Metadata, "fd00:a9fe:a9fe::1": Metadata,
		"127.0.0.1": Loopback, "127.255.255.254": Loopback, "0.0.0.0": Loopback, "0.1.2.3": Loopback, "::1": Loopback, "::": Loopback,
		"10.0.0.1": Private, "172.16.0.1": Private, "172.31.255.255": Private, "192.168.1.1": Private, "fc00::1": Private, "fec0::1": Private,
		"100.64.0.1": CarrierGrade, "100.127.255.255": CarrierGrade,
		"169.254.1.1": LinkLocal, "fe80::1": LinkLocal,
		"224.0.0.1": Multicast, "255.255.255.255": Multicast, "ff02::1": Multicast,
		"192.0.2.1": Reserved, "198.18.0.1": Reserved, "198.19.255.255": Reserved, "203.0.113.9": Reserved, "240.0.0.1": Reserved,
		"2001:db8::1": Reserved, "2001:2::1": Reserved, "3fff::1": Reserved, "4000::1": Reserved, "100::1": Reserved,
		// IPv4 in IPv6's clothes is what it is.
		"::ffff:8.8.8.8": Public, "::ffff:127.0.0.1": Loopback, "::ffff:169.254.169.254": Metadata, "::ffff:10.0.0.1": Private,
		// What is translated on the way is refused, and told as what it hides.
		"64:ff9b::8.8.8.8": Translated, "64:ff9b::169.254.169.254": Metadata, "64:ff9b::10.0.0.1": Private, "64:ff9b:1::8.8.8.8": Translated,
		"2002:0808:0808::1": Translated, "2002:a9fe:a9fe::1": Metadata, "2002:7f00:1::": Loopback, "2001:0:1::f7f7:f7f7": Translated,
		"2001::1:f5ff:fffe": Private, "::8.8.8.8": Translated, "::127.0.0.1": Loopback, "::ffff:0:8.8.8.8": Translated,
		"fe80::1%eth0": Reserved,
	} {
		if got := Classify(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
	if got := Classify(netip.Addr{}); got != Reserved {
		t.Errorf("no address is %s", got)
	}
}

// FuzzClassify holds every address that counts as public to what the standard library and the embedding say of it.
func FuzzClassify(f *testing.F) {
	for _, seed := range []string{"8.8.8.8", "2606:4700::1111", "64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:10.0.0.1", "169.254.169.254"} {
		f.Add(netip.MustParseAddr(seed).AsSlice())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, ok := netip.AddrFromSlice(raw)
		if !ok || Classify(a) != Public {
			return
		}
		plain := a.Unmap()
		if plain.IsPrivate() || plain.IsLoopback() || plain.IsLinkLocalUnicast() || plain.IsMulticast() || plain.IsUnspecified() ||
			!plain.IsGlobalUnicast() || plain.Is6() && (raw[0]>>5 != 1 || raw[0] == 0x20 && raw[1] == 0x02) {
			t.Errorf("%s counts as public", a)
		}
	})
}

func BenchmarkClassify(b *testing.B) {
	var c Ceiling
	for b.Loop() {
		c.classify(netip.MustParseAddr("93.184.216.34"))
	}
}
