package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Meter tells how much memory sandboxes could still get. It may be used concurrently.
type Meter struct {
	meminfo string
	groups  []bounded // that hold all sandboxes
}

// bounded is a group whose memory may have a limit.
type bounded struct{ dir, limit, usage, reclaimable string }

// NewMeter finds the groups in which Open makes its own. root is "/" but for tests. Without control groups there is the
// machine's memory alone.
func NewMeter(root string) (*Meter, error) {
	d, err := Describe(root)
	if err != nil {
		return nil, err
	}
	m := &Meter{meminfo: filepath.Join(root, "/proc/meminfo")}
	top := filepath.Join(root, mountpoint)
	switch d.Version {
	case 2:
		for group := d.Group; ; group = filepath.Dir(group) {
			m.groups = append(m.groups, bounded{filepath.Join(top, group), "memory.max", "memory.current", "inactive_file"})
			if group == "" || group == "/" || group == "." {
				break
			}
		}
	case 1: // a container may have mounted a group with a limit as its root
		m.groups = []bounded{{filepath.Join(top, "memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}}
	}
	return m, nil
}

// Available is the smallest of what the machine could give without swapping (MemAvailable, proc_meminfo(5)) and what is left
// below the limits of the groups, with the page cache that the kernel would give back for it, in bytes.
func (m *Meter) Available() (int64, error) {
	least, err := field(m.meminfo, "MemAvailable:")
	if err != nil {
		return 0, fmt.Errorf("read the machine's memory: %w", err)
	}
	least *= 1024
	for _, g := range m.groups {
		left, err := g.left()
		if err != nil {
			return 0, fmt.Errorf("read the memory of control group %s: %w", g.dir, err)
		}
		least = min(least, left)
	}
	return least, nil
}

// left is MaxInt64 where nothing bounds the group.
func (g bounded) left() (int64, error) {
	limit, err := number(filepath.Join(g.dir, g.limit))
	if errors.Is(err, fs.ErrNotExist) || err == nil && limit > 1<<60 { // the root of v2; "no limit" of v1 is rounded down
		return math.MaxInt64, nil
	}
	if err != nil {
		return 0, err
	}
	usage, err := number(filepath.Join(g.dir, g.usage))
	if err != nil {
		return 0, err
	}
	cache, err := field(filepath.Join(g.dir, "memory.stat"), g.reclaimable)
	if err != nil {
		return 0, err
	}
	return limit - usage + cache, nil
}

// number reads a file of one number, or "max".
func number(path string) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	text := strings.TrimSpace(string(data))
	if text == "max" {
		return math.MaxInt64, nil
	}
	return strconv.ParseInt(text, 10, 64)
}

// field finds a line that begins with a name and reads the number after it.
func field(path, name string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == name {
			return strconv.ParseInt(words[1], 10, 64)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("%s has no line %s", path, name)
}
