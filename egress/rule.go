package egress

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Rule is one entry of a policy: one port of a name, of all names below one, or of addresses.
type Rule struct {
	Name     string // lower case; empty: Prefix counts
	Wildcard bool   // every name below Name, and not Name itself
	Prefix   netip.Prefix
	Port     uint16
}

// String is the entry as it is written.
func (r Rule) String() string {
	port := strconv.Itoa(int(r.Port))
	switch {
	case r.Wildcard:
		return "*." + r.Name + ":" + port
	case r.Name != "":
		return r.Name + ":" + port
	}
	host := r.Prefix.String()
	if r.Prefix.IsSingleIP() {
		host = r.Prefix.Addr().String()
	}
	if r.Prefix.Addr().Is6() {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

// allows reports whether the rule names the destination.
func (r Rule) allows(d Destination) bool {
	if r.Port != d.Port {
		return false
	}
	if d.Name != "" {
		return r.names(d.Name)
	}
	return r.Name == "" && r.Prefix.Contains(d.Addr)
}

// names reports whether the rule is about this name, whatever the port.
func (r Rule) names(name string) bool {
	if r.Wildcard {
		return strings.HasSuffix(name, "."+r.Name)
	}
	return r.Name != "" && r.Name == name
}

// covers reports whether everything that other allows is allowed by r as well.
func (r Rule) covers(other Rule) bool {
	switch {
	case r.Port != other.Port:
		return false
	case other.Name == "":
		return r.Name == "" && r.Prefix.Bits() <= other.Prefix.Bits() && r.Prefix.Contains(other.Prefix.Addr())
	case other.Wildcard:
		return r.Wildcard && (r.Name == other.Name || strings.HasSuffix(other.Name, "."+r.Name))
	}
	return r.names(other.Name)
}

// ParseRule reads one entry: api.stripe.com:443, *.supabase.co:443, 10.0.0.5:5432, 10.1.0.0/16:5432 or [2001:db8::1]:443. Its
// errors name the entry and the remedy.
func ParseRule(entry string) (Rule, error) {
	if strings.Contains(entry, "://") {
		return Rule{}, fmt.Errorf("egress entry %q is a URL: write the host and the port alone, like api.stripe.com:443", entry)
	}
	host, port, err := splitPort(entry)
	if err != nil {
		return Rule{}, err
	}
	r := Rule{Port: port}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner = strings.TrimSuffix(inner, "]")
		if r.Prefix, ok = parsePrefix(inner); !ok || !r.Prefix.Addr().Is6() {
			return Rule{}, fmt.Errorf("egress entry %q: %q is no IPv6 address: write for example [2001:db8::1]:443", entry, inner)
		}
		return r, nil
	}
	if prefix, ok := parsePrefix(host); ok {
		if prefix.Addr().Is6() {
			return Rule{}, fmt.Errorf("egress entry %q: an IPv6 address needs brackets before the port: write [%s]:%d", entry, host, port)
		}
		r.Prefix = prefix
		return r, nil
	}
	if strings.ContainsRune(host, '/') {
		return Rule{}, fmt.Errorf("egress entry %q: %q is no range of addresses: write for example 10.1.0.0/16:5432", entry, host)
	}
	name, wildcard := strings.CutPrefix(host, "*.")
	if r.Name, err = cleanName(name); err != nil {
		return Rule{}, fmt.Errorf("egress entry %q: %w", entry, err)
	}
	r.Wildcard = wildcard
	if r.Name == "localhost" || strings.HasSuffix(r.Name, ".localhost") {
		return Rule{}, fmt.Errorf("egress entry %q: localhost is the program's own sandbox; leave the entry out", entry)
	}
	return r, nil
}

// everything are words that people try for what is called internet.
var everything = []string{"*", "all", "any", "everything", "full", "on", "public", "true", "yes"}

// splitPort takes the port off the end.
func splitPort(entry string) (host string, port uint16, err error) {
	at := strings.LastIndexByte(entry, ':')
	if at < 0 || strings.HasSuffix(entry, "]") || at > 0 && strings.Contains(entry[:at], ":") && !strings.Contains(entry, "]") {
		if addr, parseErr := netip.ParseAddr(entry); parseErr == nil && addr.Is6() {
			return "", 0, fmt.Errorf("egress entry %q has no port: write [%s]:443, an IPv6 address in brackets", entry, entry)
		}
		if slices.Contains(everything, strings.ToLower(entry)) {
			return "", 0, fmt.Errorf("egress entry %q: write internet for every public address, or names with their ports, like api.stripe.com:443", entry)
		}
		if at < 0 || strings.HasSuffix(entry, "]") {
			return "", 0, fmt.Errorf("egress entry %q has no port: write %s:443, or the port that is meant", entry, entry)
		}
		return "", 0, fmt.Errorf("egress entry %q: write an IPv6 address in brackets, like [2001:db8::1]:443", entry)
	}
	n, err := strconv.ParseUint(entry[at+1:], 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("egress entry %q: %q is no port: write a number from 1 to 65535, like %s:443", entry, entry[at+1:], entry[:at])
	}
	return entry[:at], uint16(n), nil
}

// parsePrefix reads an address or a range. One that is IPv4 in IPv6's clothes is IPv4.
func parsePrefix(text string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(text); err == nil && !p.Addr().Is4In6() {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), true
}

// cleanName returns a host name in lower case without the dot at its end (RFC 1123, and the underscore that some have).
func cleanName(text string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	if name == "" || len(name) > 253 {
		return "", fmt.Errorf("%q is no host name: it has 1 to 253 characters", text)
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if !validLabel(label) {
			return "", fmt.Errorf("%q is no host name: between dots there are letters, digits and -, with other scripts in the form xn--", text)
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return "", fmt.Errorf("%q is neither a host name nor an address: write four numbers apart by dots", text)
	}
	return name, nil
}

func validLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := range len(label) {
		c := label[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
