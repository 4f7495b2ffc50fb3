package nsjail

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"apibuilder/sandbox"
)

// mount is one entry of a sandbox's file tree, in the order in which they are made: a later one lies on top.
type mount struct {
	from    string // host path, or what a symlink points to; empty for a new file system
	to      string
	kind    string // file system type; empty for a bind mount
	options string
	link    bool
	write   bool
	devices bool // its device nodes work
	noexec  bool
}

// libraries are the directories of shared libraries and what they read: of Debian's kind where the host has a directory
// for its architecture, else the whole of /usr/lib, where other distributions mix them with everything else.
func libraries() []string {
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	paths := []string{"/usr/lib"}
	if fileExists("/usr/lib/" + triplet) {
		paths = []string{
			"/usr/lib/" + triplet, "/usr/lib/locale", "/usr/lib/ssl", "/usr/lib/os-release",
			"/usr/lib/ld-linux-aarch64.so.1", // the loader's fixed place; x86-64 has it in /lib64
		}
	}
	return append(paths, "/usr/lib64", "/usr/share/zoneinfo", "/usr/share/ca-certificates",
		"/usr/share/fonts", "/usr/share/fontconfig", "/usr/local/share/fonts")
}

// rootLinks are directories at the root that are links into /usr where it is merged, and directories elsewhere.
var rootLinks = []string{"/lib", "/lib64"}

// etcPaths are what a sandbox sees of the host's /etc; the rest of it is ours (etcFiles).
var etcPaths = []string{
	"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates", "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types",
	"/etc/fonts",
}

// devices are the whole of /dev, but for links.
var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

// maskedFiles and maskedDirs of /proc tell about the host and not about the sandbox, or are ways into the kernel. They are
// the ones that OCI runtimes hide, and some more. Those that a kernel lacks are left out.
var (
	maskedFiles = []string{
		"cmdline", "config.gz", "diskstats", "interrupts", "iomem", "ioports", "kallsyms", "kcore", "key-users", "keys",
		"kmsg", "kpagecgroup", "kpagecount", "kpageflags", "latency_stats", "locks", "modules", "partitions",
		"sched_debug", "schedstat", "slabinfo", "softirqs", "swaps", "sysrq-trigger", "timer_list", "timer_stats",
		"vmallocinfo", "vmstat", "zoneinfo",
	}
	maskedDirs = []string{"acpi", "asound", "bus", "driver", "dynamic_debug", "fs", "irq", "pressure", "scsi", "sysvipc", "tty"}
)

// mounts lists everything that a sandbox sees.
func (j jail) mounts() []mount {
	// An interpreter of a data directory below /tmp would be hidden by the sandbox's own.
	outside := slices.DeleteFunc(slices.Clone(j.shown), inTmp)
	inside := slices.DeleteFunc(slices.Clone(j.shown), func(path string) bool { return !inTmp(path) })
	all := append(j.systemMounts(outside), j.tmpMounts()...)
	inside = topmost(inside)
	for _, path := range slices.Concat(inside, submounts(inside)) {
		all = append(all, bind(path))
	}
	if j.environment != "" {
		all = append(all, mount{from: j.environment, to: environment}, mount{from: j.layout.runner(), to: runnerDir},
			mount{from: j.layout.empty(), to: sandbox.FilesDir})
	}
	return all
}

// topmost leaves out paths in directories that are shown, or come before in the list: a file that a later mount hides cannot
// be made read-only.
func topmost(paths []string, shown ...string) []string {
	var all []string
	for _, path := range paths {
		within := func(dir string) bool { return below(dir, path) }
		if !slices.ContainsFunc(shown, within) && !slices.ContainsFunc(all, within) {
			all = append(all, path)
		}
	}
	return all
}

// systemMounts are the libraries, devices and /etc that every program needs, and the paths that are shown besides.
func (j jail) systemMounts(paths []string) []mount {
	var all []mount
	for _, path := range rootLinks {
		if target, err := os.Readlink(path); err == nil {
			all = append(all, mount{from: target, to: path, link: true})
		} else if fileExists(path) {
			all = append(all, bind(path))
		}
	}
	shown := slices.DeleteFunc(append(libraries(), etcPaths...), func(path string) bool { return !fileExists(path) })
	shown = append(shown, topmost(paths, shown...)...)
	for _, path := range slices.Concat(shown, submounts(shown)) {
		all = append(all, bind(path))
	}
	for _, name := range sortedKeys(etcFiles) {
		all = append(all, mount{from: j.layout.etc(name, j.network), to: "/etc/" + name, noexec: true})
	}
	all = append(all, deviceMounts()...)
	return append(all, procMounts()...)
}

// tmpNames are names of the one writable place, /tmp: POSIX semaphores and shared memory go to /dev/shm (shm_overview(7)).
var tmpNames = []string{"/dev/shm", "/var/tmp"}

// tmpMounts are /tmp and its other names. What a data directory below one of them has, /var/tmp for example, is bound behind them. The
// links are relative: nsjail makes the tree in a directory of the host's, where /tmp would be the host's own.
func (j jail) tmpMounts() []mount {
	all := []mount{{
		to: "/tmp", kind: "tmpfs", write: true,
		options: fmt.Sprintf("size=%d,nr_inodes=%d,mode=1777", j.limits.TmpBytes, tmpInodes),
	}}
	for _, name := range tmpNames {
		all = append(all, mount{from: "../tmp", to: name, link: true})
	}
	return all
}

// inTmp reports whether a path is below /tmp by any of its names.
func inTmp(path string) bool {
	return below("/tmp", path) || slices.ContainsFunc(tmpNames, func(name string) bool { return below(name, path) })
}

// submounts lists what the host has mounted below directories that a sandbox sees. nsjail binds those along, and makes
// read-only only what it is told of.
func submounts(dirs []string) []string {
	if len(dirs) == 0 {
		return nil
	}
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil // there is no sandbox without /proc
	}
	return mountsBelow(string(text), dirs)
}

// mountsBelow reads the format of proc_pid_mountinfo(5), in which a directory's mount comes before those in it.
func mountsBelow(mountinfo string, dirs []string) []string {
	var found []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		path := unescapeMount.Replace(fields[4])
		inside := func(dir string) bool { return path != dir && below(dir, path) }
		if slices.ContainsFunc(dirs, inside) && !slices.Contains(found, path) {
			found = append(found, path)
		}
	}
	return found
}

var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// interpreterPaths are what an interpreter needs, directories before what is in them: a file that was bound first would be
// hidden by its directory, and nsjail could not make it read-only then.
func interpreterPaths(l sandbox.Launch) []string { return append(slices.Clone(l.Mounts), l.Python) }

func bind(path string) mount { return mount{from: path, to: path} }

func deviceMounts() []mount {
	var all []mount
	for _, path := range devices {
		all = append(all, mount{from: path, to: path, write: true, devices: true, noexec: true})
	}
	for to, from := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	} {
		all = append(all, mount{from: from, to: to, link: true})
	}
	slices.SortFunc(all, func(a, b mount) int { return strings.Compare(a.to, b.to) })
	return all
}

func procMounts() []mount {
	all := []mount{{to: "/proc", kind: "proc", noexec: true}}
	for _, name := range maskedFiles {
		// One that only root may read is closed already, and nsjail, which opens what it mounts on, cannot hide it.
		if info, err := os.Stat("/proc/" + name); err == nil && info.Mode().Perm()&0o004 != 0 {
			all = append(all, mount{from: "/dev/null", to: "/proc/" + name, noexec: true})
		}
	}
	for _, name := range maskedDirs {
		if fileExists("/proc/" + name) {
			all = append(all, mount{to: "/proc/" + name, kind: "tmpfs", options: "size=4096,nr_inodes=2", noexec: true})
		}
	}
	return all
}

// config is nsjail's configuration: the mounts alone, because the command line has no words for their flags. It is a
// protocol buffer in text form (nsjail's config.proto).
func (j jail) config() string { return config(j.mounts()) }

func config(mounts []mount) string {
	var b strings.Builder
	for _, m := range mounts {
		fmt.Fprintf(&b, "mount { src: %s dst: %s fstype: %s options: %s is_symlink: %t is_bind: %t rw: %t nosuid: %t nodev: %t noexec: %t }\n",
			quote(m.from), quote(m.to), quote(m.kind), quote(m.options), m.link, m.kind == "" && !m.link, m.write,
			!m.link, !m.link && !m.devices, m.noexec)
	}
	return b.String()
}

// quote makes a string of protobuf's text form: every byte that could end it or mean something is an octal escape.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%03o`, c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// below reports whether path is dir or lies in it.
func below(dir, path string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
