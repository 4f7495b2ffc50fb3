package gateway

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// Proxies are the addresses of the proxies before a gateway whose word about a consumer counts. The zero value trusts
// nobody. It may be used concurrently.
type Proxies []netip.Prefix

// ParseProxies reads addresses and CIDR ranges apart by commas: "10.0.0.0/8, 192.0.2.7". The error names the one that is
// wrong. A range must be written as its first address, so that a typing error in it does not trust more than was meant.
func ParseProxies(text string) (Proxies, error) {
	var all Proxies
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		prefix, err := parsePrefix(part)
		if err != nil {
			return nil, err
		}
		all = append(all, prefix)
	}
	return all, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil || prefix.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q is no address and no range: write for example 192.0.2.7 or 10.0.0.0/8", text)
	case prefix != prefix.Masked():
		return netip.Prefix{}, fmt.Errorf("%q is no range: its first address is %s", text, prefix.Masked())
	}
	return prefix, nil
}

func (p Proxies) trust(addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// plainAddr is an address as addresses are compared here: IPv4 as IPv4, and without a zone, which means something on one
// host only.
func plainAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// addrOf reads an address with or without a port, as connections and proxies write it; invalid when it is none.
func addrOf(text string) netip.Addr {
	if with, err := netip.ParseAddrPort(text); err == nil {
		return plainAddr(with.Addr())
	}
	text = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	addr, _ := netip.ParseAddr(text) // invalid with an error
	return plainAddr(addr)
}

// proxyListener takes the PROXY protocol, version 1 or 2, from trusted proxies. They must send it: who could leave it out
// could leave it to its consumers to write one. What others send is not looked at, and no HTTP.
func proxyListener(l net.Listener, trusted Proxies) net.Listener {
	return &proxyproto.Listener{
		Listener:          l,
		ReadHeaderTimeout: headerTimeout,
		ConnPolicy: func(conn proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			if trusted.trust(addrOf(conn.Upstream.String())) {
				return proxyproto.REQUIRE, nil
			}
			return proxyproto.SKIP, nil
		},
	}
}

// proxied is what a trusted proxy said in the PROXY protocol; nil when there is none that does.
func (c *consumerConn) proxied() *proxyproto.Header {
	if c == nil {
		return nil
	}
	conn := c.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if conn, ok := conn.(*proxyproto.Conn); ok {
		return conn.ProxyHeader()
	}
	return nil
}

// isNobodys reports whether a trusted proxy does not say whose the connection is (UNKNOWN, LOCAL). Its address is the proxy's then, and
// what comes on it is not the proxy's word.
func (c *consumerConn) isNobodys() bool {
	header := c.proxied()
	return header != nil && header.Command.IsLocal()
}

// cameByTLS reports whether a trusted proxy says, in version 2 of the PROXY protocol, that its consumer came by TLS. Where it does not
// say who that is, it says nothing of it (proxy-protocol.txt, 2.2: of LOCAL).
func (c *consumerConn) cameByTLS() bool {
	header := c.proxied()
	if header == nil || header.Command.IsLocal() {
		return false
	}
	extensions, err := header.TLVs()
	if err != nil {
		return false
	}
	told, ok := tlvparse.FindSSL(extensions)
	return ok && told.ClientSSL()
}
