// Package egress decides what a sandbox may reach of the network outside. An API's owner writes a Policy; the operator's
// Gate bounds it and makes a Guard for each sandbox; the Guard resolves names and dials on behalf of the sandbox, so that
// the decision is about the address that is really dialled. How packets come to be connections is not known here: see the
// packages below.
package egress

import (
	"net/netip"
	"strconv"
)

// Destination is where a connection goes: to a name or to an address, and a port.
type Destination struct {
	Name string // lower case, without the dot at its end; empty: the address was asked for
	Addr netip.Addr
	Port uint16
}

// String is the entry of a policy that would allow it.
func (d Destination) String() string {
	port := strconv.Itoa(int(d.Port))
	switch {
	case d.Name != "":
		return d.Name + ":" + port
	case d.Addr.Is6():
		return "[" + d.Addr.String() + "]:" + port
	}
	return d.Addr.String() + ":" + port
}
