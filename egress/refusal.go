package egress

import (
	"fmt"
)

// Reason is why something was refused; the word is the same wherever it is told.
type Reason string

// The reasons.
const (
	Never        Reason = "never_allowed" // its address is of a kind that only the operator may name
	NotListed    Reason = "not_listed"    // the owner's policy does not name it
	AboveCeiling Reason = "above_ceiling" // the operator's ceiling does not
	NotTCP       Reason = "not_tcp"
	Unknown      Reason = "unknown_name" // a synthetic address that stands for no name
	ByTCP        Reason = "look_up_by_tcp"
	TooMany      Reason = "too_many" // connections at a time, and look-ups where all sandboxes have nearly the most
	TooFast      Reason = "too_fast" // new connections, or look-ups
)

// guide is where a refused author reads on.
const guide = "docs/egress.md"

// Refusal is a typed refusal. Its text is for the program's author.
type Refusal struct {
	Reason Reason
	What   string // the entry of a policy that would be about it: api.example.com:443
	Class  Class  // of the address, for Never, and for NotListed where Dialed is
	Dialed string // the address that a name turned out to have, for Never, and for NotListed where internet allows the name
	Limit  string // what was hit, for TooMany and TooFast
}

// Error says what was refused, why, and what to do.
func (r *Refusal) Error() string {
	switch r.Reason {
	case Never:
		what := r.What
		if r.Dialed != "" {
			what += " has the address " + r.Dialed + ", which"
		}
		return fmt.Sprintf("egress refused: %s is never allowed (%s); see %s", what, r.Class, guide)
	case NotListed:
		if r.Dialed != "" {
			return fmt.Sprintf("egress refused: %s has the address %s (%s), which internet does not include: the API's option egress must name it; see %s",
				r.What, r.Dialed, r.Class, guide)
		}
		return fmt.Sprintf("egress refused: %s is not in the API's option egress; see %s", r.What, guide)
	case AboveCeiling:
		return fmt.Sprintf("egress refused: %s is above what the operator lets APIs reach (--egress-ceiling); see %s", r.What, guide)
	case NotTCP:
		return fmt.Sprintf("egress refused: %s by UDP; there is TCP, and UDP for look-ups of names alone; see %s", r.What, guide)
	case Unknown:
		return fmt.Sprintf("egress refused: %s stands for no name, or not any more: look the name up again; see %s", r.What, guide)
	case ByTCP:
		return fmt.Sprintf("egress refused: %s by TCP; names are looked up by UDP; see %s", r.What, guide)
	}
	return fmt.Sprintf("egress refused: %s: %s; see %s", r.What, r.Limit, guide)
}
