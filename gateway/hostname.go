package gateway

import (
	"net/netip"
	"strconv"
	"strings"
)

const longestHostname = 253 // of a name in DNS, without its last dot

// nameOf is the name that hostnameOf takes out of a Host field; empty where there is none.
func (c *consumerConn) nameOf(host string) string {
	if c == nil {
		return nameIn(host)
	}
	return c.host.value(host, nameIn)
}

func nameIn(host string) string {
	if name, ok := hostnameOf(host); ok {
		return name
	}
	return ""
}

// hostnameOf takes the name out of a Host field, in lower case and without the dot that may end it; an IPv6 address is
// without its brackets. ok is false for what RFC 9110, 7.2 does not allow there: user information, a port that is none, a
// character outside of a name. Percent-encoding and sub-delims, which RFC 3986 allows in names, are no part of any name
// in DNS, and are refused too.
func hostnameOf(host string) (name string, ok bool) {
	if literal, found := strings.CutPrefix(host, "["); found {
		address, port, found := strings.Cut(literal, "]")
		addr, err := netip.ParseAddr(address)
		return addr.String(), found && err == nil && addr.Is6() && addr.Zone() == "" && isPort(port)
	}
	name, port := host, ""
	if colon := strings.IndexByte(host, ':'); colon >= 0 {
		name, port = host[:colon], host[colon:]
	}
	name = strings.TrimSuffix(name, ".")
	if !isPort(port) || !isHostname(name) {
		return "", false
	}
	return strings.ToLower(name), true
}

// isPort knows what may stand behind a name: nothing, or a colon and a number, which may be left out (RFC 3986, 3.2.3).
func isPort(text string) bool {
	digits, found := strings.CutPrefix(text, ":")
	if !found || digits == "" {
		return text == "" || found
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	_, err := strconv.ParseUint(digits, 10, 16)
	return err == nil
}

// isHostname reports whether s is one label or more of unreserved characters apart by dots.
func isHostname(s string) bool {
	if len(s) == 0 || len(s) > longestHostname || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '-' && s[i] != '.' && s[i] != '_' && s[i] != '~' {
			return false
		}
	}
	return true
}
