package egress

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Ceiling is the most that an operator lets APIs reach. Its methods may be called concurrently. The zero value is nothing.
type Ceiling struct {
	// Most is what a policy may name: nothing, a list, or everything public.
	Most Policy
	// Private are targets that a policy may name though their addresses are not public. Ranges and names stand for private
	// networks alone; a metadata service, loopback and the host itself must be named by the one address.
	Private []Rule

	host ownAddresses
}

// Check reports the first entry of a policy that could never be reached, as an error with the remedy.
func (c *Ceiling) Check(p Policy) error {
	if p.Internet && !c.Most.Internet {
		return fmt.Errorf("egress internet is above the operator's ceiling, which is %s: name what is needed out of that, "+
			"or ask the operator for --egress-ceiling internet", c)
	}
	for _, r := range p.Rules {
		if c.excepted(r) {
			continue
		}
		if r.Name == "" {
			if class := c.classify(r.Prefix.Addr()); class != Public {
				return fmt.Errorf("egress entry %q is never allowed: it is %s; only the operator can name it, with --egress-allow-private %s", r, class, r)
			}
		}
		if !c.Most.Internet && !slices.ContainsFunc(c.Most.Rules, func(own Rule) bool { return own.covers(r) }) {
			return fmt.Errorf("egress entry %q is above the operator's ceiling, which is %s: leave it out, "+
				"or ask the operator to add it to --egress-ceiling", r, c)
		}
	}
	return nil
}

// ParsePrivate reads Private. Its errors name the entry and the remedy, also of a range that could never allow anything.
func ParsePrivate(text string) ([]Rule, error) {
	rules, err := ParseRules(text)
	for _, r := range rules {
		if r.Name != "" || r.Prefix.IsSingleIP() {
			continue
		}
		first := r.Prefix.Addr()
		if class := Classify(first); class == Classify(lastOf(r.Prefix)) && class != Public && !class.network() {
			one := Rule{Prefix: netip.PrefixFrom(first.Next(), first.BitLen()), Port: r.Port}
			return nil, fmt.Errorf("egress entry %q allows nothing: %s must be named by the one address, like %s", r, class, one)
		}
	}
	return rules, err
}

// lastOf is the last address of a range.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(b) // it has a length of addresses
	return last
}

// excepted reports whether the operator's exceptions cover an entry. A range of theirs does not cover the one address that they must name.
func (c *Ceiling) excepted(r Rule) bool {
	if !slices.ContainsFunc(c.Private, func(own Rule) bool { return own.covers(r) }) {
		return false
	}
	if r.Name != "" || !r.Prefix.IsSingleIP() {
		return true
	}
	a := r.Prefix.Addr()
	class := c.classify(a)
	return class == Public || exempts(c.Private, Destination{Addr: a, Port: r.Port}, a, class)
}

// String is the ceiling in the words of a policy.
func (c *Ceiling) String() string {
	var words []string
	if !c.Most.None() || len(c.Private) == 0 {
		words = append(words, c.Most.String())
	}
	for _, r := range c.Private {
		words = append(words, r.String())
	}
	return strings.Join(words, ", ")
}

// permits reports whether a destination is within the ceiling, whatever its address turns out to be.
func (c *Ceiling) permits(d Destination) bool {
	if c.Most.Allows(d) {
		return true
	}
	return slices.ContainsFunc(c.Private, func(r Rule) bool { return r.allows(d) })
}

// resolves reports whether a name can be within the ceiling at any port.
func (c *Ceiling) resolves(name string) bool {
	return c.Most.resolves(name) || slices.ContainsFunc(c.Private, func(r Rule) bool { return r.names(name) })
}

// address decides about the address that is about to be dialled for a destination that a policy allows; nil when it may be. What is
// not public needs the operator's exception, and a policy that names it, which is reported.
func (c *Ceiling) address(p Policy, d Destination, a netip.Addr) (excepted bool, r *Refusal) {
	class := c.classify(a)
	if class == Public {
		return false, nil
	}
	r = &Refusal{Reason: Never, What: d.String(), Class: class}
	if exempts(c.Private, d, a.Unmap(), class) {
		if p.excepts(d, a.Unmap()) {
			return true, nil
		}
		r.Reason = NotListed
	}
	if d.Name != "" {
		r.Dialed = a.String()
	}
	return false, r
}

// classify is Classify on this host.
func (c *Ceiling) classify(a netip.Addr) Class {
	class := Classify(a)
	if class != Metadata && class != Loopback && c.host.have(a.Unmap()) {
		return OwnHost
	}
	if inner, ok := embedded(a); ok && class == Translated && c.host.have(inner) {
		return OwnHost // whoever translates may lead it back
	}
	return class
}
