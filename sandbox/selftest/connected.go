package selftest

import (
	"maps"
	"slices"
	"strings"
)

// again are those of checks that say something new in a sandbox with a network: its jail has a filter of system calls of its own, shares
// the network namespace that it is started in, and is made by a process that holds that namespace and its device.
func again(checks []check) []check {
	var all []check
	for _, c := range checks {
		if c.in == nil || slices.Contains(otherwiseConnected, c.ID) {
			continue
		}
		group, word, _ := strings.Cut(c.ID, ".")
		all = append(all, withNetwork(group+".egress_"+word, c.Tried, c.Stops, c.in))
	}
	return all
}

// otherwiseConnected are checks of what differs with a network, which others try there: connectedKernelChecks and outsideChecks.
var otherwiseConnected = []string{
	"kernel.netlink", "reach.namespace_net", "reach.metadata", "reach.private_ranges", "reach.public_network", "reach.host_addresses",
	"reach.multicast", "reach.names", "reach.name_servers", "reach.interfaces",
}

func connectedKernelChecks() []check {
	return []check{
		withNetwork("kernel.egress_netlink", "open netlink sockets but those for routing", bySeccomp, probing("kernel.netlink", netlinkOffences)),
	}
}

// netlinkOffences lets a program have routing, by which the resolver lists interfaces.
func netlinkOffences(r *run, s seen) []string {
	maps.DeleteFunc(s, func(name, _ string) bool { return name == "ROUTE" })
	return refused(eperm, enosys)(r, s)
}
