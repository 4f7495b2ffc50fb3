package doctor

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func (e *exam) memory(context.Context) {
	const name = "memory and cores"
	total, available := e.meminfo("MemTotal:"), e.meminfo("MemAvailable:")
	cores := e.cores()
	found := fmt.Sprintf("%s, %s available, %d cores", sizeText(total), sizeText(available), cores)
	if total == 0 || cores == 0 {
		e.warn(name, "mount /proc and /sys", "/proc/meminfo or the list of cores cannot be read")
		return
	}
	if e.DefaultMemory > 0 && available < uint64(e.DefaultMemory)+256<<20 {
		e.warn(name, "add memory, or lower --default-memory", "%s; a program may take %s", found, sizeText(uint64(e.DefaultMemory)))
		return
	}
	e.ok(name, "%s", found)
}

// meminfo reads a field in bytes.
func (e *exam) meminfo(key string) uint64 {
	for _, f := range e.lines("/proc/meminfo") {
		if len(f) >= 2 && f[0] == key {
			kib, _ := strconv.ParseUint(f[1], 10, 54)
			return kib << 10
		}
	}
	return 0
}

// cores counts a list like "0-3,8".
func (e *exam) cores() int {
	text, _ := e.read("/sys/devices/system/cpu/online")
	n := 0
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, errA := strconv.Atoi(first)
		b, errB := a, error(nil)
		if isRange {
			b, errB = strconv.Atoi(last)
		}
		if errA == nil && errB == nil && b >= a {
			n += b - a + 1
		}
	}
	return n
}

// swap is good or bad for the host; sandboxes are kept out of it where the kernel can do that.
func (e *exam) swap(context.Context) {
	const name = "swap"
	var kib uint64
	for i, f := range e.lines("/proc/swaps") {
		if i > 0 && len(f) >= 3 { // the first line is a heading
			n, _ := strconv.ParseUint(f[2], 10, 54)
			kib += n
		}
	}
	if kib == 0 {
		e.ok(name, "none")
		return
	}
	found := sizeText(kib << 10)
	if d, err := e.ControlGroups(); err == nil && d.SwapUnbound {
		e.warn(name, "boot with swapaccount=1, or use control groups v2, or turn swap off",
			"%s, and the kernel does not count what a program has there", found)
		return
	}
	e.ok(name, "%s; programs cannot use it", found)
}

// descriptors is about what a sandbox and the requests to it take of the server's.
const descriptors = 16

func (e *exam) files(context.Context) {
	const name = "open files"
	needed := uint64(1024 + descriptors*e.MaxSandboxes)
	for _, f := range e.lines("/proc/self/limits") {
		if len(f) < 5 || strings.Join(f[:3], " ") != "Max open files" {
			continue
		}
		hard, err := strconv.ParseUint(f[4], 10, 64)
		if err == nil && hard < needed {
			e.warn(name, fmt.Sprintf("set LimitNOFILE=%d in the service, or `ulimit -n %d`", needed, needed),
				"at most %d, too few for %d programs at a time", hard, e.MaxSandboxes)
			return
		}
		e.ok(name, "at most %s", f[4])
		return
	}
	e.warn(name, "mount /proc", "the limit cannot be read")
}

// dumps looks whether the server can forbid core dumps: that takes a limit of one byte (package nsjail), and sudo sets the highest to 0,
// which only CAP_SYS_RESOURCE raises.
func (e *exam) dumps(context.Context) {
	const name = "core dumps"
	if e.UID != 0 {
		e.ok(name, "not looked at, because root has limits of its own")
		return
	}
	hard := ""
	for _, f := range e.lines("/proc/self/limits") {
		if len(f) > 5 && strings.Join(f[:4], " ") == "Max core file size" {
			hard = f[5]
		}
	}
	if hard == "0" && !e.may(unix.CAP_SYS_RESOURCE) {
		e.miss(name, "start the server from a root shell without sudo, or put `Set disable_coredump false` into /etc/sudo.conf and "+
			"`Defaults rlimit_core=user` into the sudoers file",
			"their highest limit is 0, as sudo sets it, and this process may not raise it, because it lacks CAP_SYS_RESOURCE")
		return
	}
	e.ok(name, "the server can forbid them")
}

// may reports whether this process has a capability (proc_pid_status(5)). Where that cannot be read, it has.
func (e *exam) may(capability uint) bool {
	for _, f := range e.lines("/proc/self/status") {
		if len(f) == 2 && f[0] == "CapEff:" {
			set, err := strconv.ParseUint(f[1], 16, 64)
			return err != nil || set&(1<<capability) != 0
		}
	}
	return true
}

// Years in which this program is run: a clock outside has lost its battery, and no certificate is valid then.
const firstYear, lastYear = 2026, 2100

func (e *exam) clock(context.Context) {
	const name = "clock"
	const set = "set it, and keep it right with a time server (chrony, systemd-timesyncd)"
	now := e.Now().UTC()
	found := now.Format(time.DateTime) + " UTC"
	source, _ := e.read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	if source != "" {
		found += ", source " + source
	}
	synchronised, err := e.Synchronised()
	switch {
	case now.Year() < firstYear || now.Year() > lastYear:
		e.warn(name, set+": certificates are not valid then", "%s", found)
	case !e.Steady():
		e.warn(name, "choose another source below /sys/devices/system/clocksource: times and limits go wrong",
			"%s; its monotonic clock goes back", found)
	case err == nil && !synchronised:
		e.ok(name, "%s; the kernel is not told by a time server", found)
	default:
		e.ok(name, "%s", found)
	}
}

// sizeText writes bytes in the unit that leaves at least one before the point.
func sizeText(bytes uint64) string {
	for _, unit := range []struct {
		name string
		size uint64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}} {
		if bytes >= unit.size {
			return strconv.FormatFloat(float64(bytes)/float64(unit.size), 'f', 1, 64) + " " + unit.name
		}
	}
	return strconv.FormatUint(bytes>>10, 10) + " KiB"
}

func countText(n uint64) string {
	if n >= 1_000_000 {
		return strconv.FormatFloat(float64(n)/1e6, 'f', 1, 64) + " million"
	}
	return strconv.FormatUint(n, 10)
}
