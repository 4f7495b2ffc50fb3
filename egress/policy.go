package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Policy is what somebody may reach. The zero value is nothing.
type Policy struct {
	Internet bool // every public address, by whatever name
	Rules    []Rule
}

// maxRules are the entries that a policy may have.
const maxRules = 200

// Parse reads a policy: none, or entries apart by commas or white space, among which the word internet may be. Empty text is
// none. Its errors name the entry and the remedy.
func Parse(text string) (Policy, error) {
	var p Policy
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })
	if len(words) > maxRules {
		return Policy{}, fmt.Errorf("egress has %d entries, more than %d: use a name like *.example.com:443, or internet", len(words), maxRules)
	}
	for _, word := range words {
		switch {
		case word == "none" && len(words) > 1:
			return Policy{}, errors.New("egress is none and something else as well: leave out one of the two")
		case word == "none":
		case word == "internet":
			p.Internet = true
		default:
			rule, err := ParseRule(word)
			if err != nil {
				return Policy{}, err
			}
			if !slices.Contains(p.Rules, rule) {
				p.Rules = append(p.Rules, rule)
			}
		}
	}
	return p, nil
}

// ParseRules reads entries as Parse does, but neither none nor internet.
func ParseRules(text string) ([]Rule, error) {
	p, err := Parse(text)
	if err == nil && p.Internet {
		return nil, errors.New("internet is no entry here: name what is meant, like 10.1.0.0/16:5432 or db.internal:5432")
	}
	return p.Rules, err
}

// String is the policy as Parse reads it.
func (p Policy) String() string {
	var words []string
	if p.Internet {
		words = append(words, "internet")
	}
	for _, r := range p.Rules {
		words = append(words, r.String())
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// None reports whether nothing may be reached.
func (p Policy) None() bool { return !p.Internet && len(p.Rules) == 0 }

// Allows reports whether the policy names the destination. Whether its address may be dialled at all is the Gate's to say.
func (p Policy) Allows(d Destination) bool {
	return p.lists(d) || p.Internet && (d.Name != "" || Classify(d.Addr) == Public)
}

// lists reports whether an entry names the destination.
func (p Policy) lists(d Destination) bool {
	return slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.allows(d) })
}

// excepts reports whether an entry names the destination or the address that is dialled for it, which internet does not where the
// address is not public.
func (p Policy) excepts(d Destination, a netip.Addr) bool {
	return p.lists(d) || p.lists(Destination{Addr: a, Port: d.Port})
}

// resolves reports whether the policy has a use for a name at any port.
func (p Policy) resolves(name string) bool {
	return p.Internet || slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.names(name) })
}

// exempts reports whether one of an operator's rules names an address of a kind that is refused otherwise. A range or a
// name does for private networks; what would let a program become somebody else, the host or its cloud identity, must be
// named as the one address.
func exempts(rules []Rule, d Destination, a netip.Addr, class Class) bool {
	return slices.ContainsFunc(rules, func(r Rule) bool {
		if r.Port != d.Port {
			return false
		}
		if r.Name != "" {
			return class.network() && d.Name != "" && r.names(d.Name)
		}
		return r.Prefix.Contains(a) && (class.network() || r.Prefix.IsSingleIP())
	})
}
