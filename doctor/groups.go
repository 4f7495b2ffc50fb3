package doctor

import (
	"context"
	"strings"
)

func (e *exam) groups(context.Context) {
	const name = "control groups"
	d, err := e.ControlGroups()
	if err != nil {
		e.miss(name, "mount the control groups of the host below /sys/fs/cgroup", "they cannot be looked at: %v", err)
		return
	}
	found := describeGroups(d)
	switch {
	case d.Version == 0:
		e.miss(name, "mount control groups v2 at /sys/fs/cgroup; in a container, run it with those of the host", "%s", found)
	case len(d.Missing) > 0 && d.Version == 1:
		e.miss(name, "boot with systemd.unified_cgroup_hierarchy=1 to use v2, or mount the missing controllers below /sys/fs/cgroup",
			"%s; missing: %s", found, strings.Join(d.Missing, ", "))
	case len(d.Missing) > 0:
		e.miss(name, "run the server as a systemd service with Delegate=yes, or from a root shell outside a container",
			"%s; missing: %s", found, strings.Join(d.Missing, ", "))
	case d.ReadOnly:
		e.miss(name, "mount them writable; in Docker, use --privileged or a cgroup namespace of the server's own", "%s", found)
	case d.Others > 0:
		e.warn(name, "let the server be the only process of its group: a systemd service with Delegate=yes, or the container's "+
			"first process", "%s; %d other processes are in that group", found, d.Others)
	default:
		e.ok(name, "%s", found)
	}
}

func describeGroups(d ControlGroups) string {
	var parts []string
	switch {
	case d.Version == 0:
		return "none are mounted below /sys/fs/cgroup"
	case d.Version == 1 && d.Hybrid:
		parts = append(parts, "v1 has the controllers, v2 is beside it (hybrid)")
	case d.Version == 1:
		parts = append(parts, "v1")
	case d.Delegated:
		parts = append(parts, "v2, "+d.Group+" is delegated to this process")
	case d.Contained:
		parts = append(parts, "v2, below "+orRoot(d.Group)+" of a container's view")
	default:
		parts = append(parts, "v2, not delegated: the server will make its group at the root of the hierarchy")
	}
	parts = append(parts, "controllers "+strings.Join(d.Controllers, ", "))
	if d.ReadOnly {
		parts = append(parts, "read-only")
	}
	return strings.Join(parts, "; ")
}

func orRoot(group string) string {
	if group == "" {
		return "/"
	}
	return group
}
