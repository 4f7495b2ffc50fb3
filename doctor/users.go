package doctor

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// uids looks whether the ids of sandboxes are theirs alone, and whether there are such ids here at all.
func (e *exam) uids(context.Context) {
	const name = "user ids"
	const other = "choose another range with --uid-range"
	found := fmt.Sprintf("%d-%d", e.FirstUID, e.LastUID)
	count := uint64(e.LastUID) - uint64(e.FirstUID) + 1
	if mapped := e.mapped(); !mapped {
		e.miss(name, "run the server outside the container, or give it these ids", "%s are not there in this user namespace", found)
		return
	}
	taken := append(e.accounts("/etc/passwd", "account", 2), e.accounts("/etc/group", "group", 2)...)
	taken = append(taken, e.delegations("/etc/subuid")...)
	taken = append(taken, e.delegations("/etc/subgid")...)
	switch {
	case len(taken) > 0:
		e.warn(name, other+": programs would run as those users", "%s: used by %s", found, few(taken))
	case count <= uint64(e.MaxSandboxes):
		e.warn(name, other+", or lower --max-sandboxes", "%s, one for builds and %d for sandboxes, of which there may be %d",
			found, count-1, e.MaxSandboxes)
	default:
		e.ok(name, "%s, used by no account, group or sub-id of this host", found)
	}
}

// few names the first of many.
func few(all []string) string {
	const most = 4
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return strings.Join(all[:most], ", ") + fmt.Sprintf(" and %d more", len(all)-most)
}

// accounts lists those of a file in the manner of passwd(5) whose id is in the range.
func (e *exam) accounts(file, kind string, column int) []string {
	var taken []string
	for _, f := range e.colons(file) {
		if len(f) <= column {
			continue
		}
		if id, err := strconv.ParseUint(f[column], 10, 32); err == nil && e.overlaps(id, id) {
			taken = append(taken, kind+" "+f[0])
		}
	}
	return taken
}

// delegations lists the ranges of a file in the manner of subuid(5) that overlap.
func (e *exam) delegations(file string) []string {
	var taken []string
	for _, f := range e.colons(file) {
		if len(f) != 3 {
			continue
		}
		first, errA := strconv.ParseUint(f[1], 10, 32)
		count, errB := strconv.ParseUint(f[2], 10, 32)
		if errA == nil && errB == nil && count > 0 && e.overlaps(first, first+count-1) {
			taken = append(taken, fmt.Sprintf("sub-ids of %s (%s)", f[0], file))
		}
	}
	return taken
}

func (e *exam) overlaps(first, last uint64) bool {
	return first <= uint64(e.LastUID) && last >= uint64(e.FirstUID)
}

func (e *exam) colons(file string) [][]string {
	data, _ := os.ReadFile(e.path(file)) // none is none
	var all [][]string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, strings.Split(line, ":"))
		}
	}
	return all
}

// mapped reports whether this user namespace has the whole range (user_namespaces(7)). Without the file there is only one.
func (e *exam) mapped() bool {
	lines := e.lines("/proc/self/uid_map")
	for _, f := range lines {
		if len(f) != 3 {
			continue
		}
		first, errA := strconv.ParseUint(f[0], 10, 64)
		count, errB := strconv.ParseUint(f[2], 10, 64)
		if errA == nil && errB == nil && first <= uint64(e.FirstUID) && first+count > uint64(e.LastUID) {
			return true
		}
	}
	return len(lines) == 0
}
