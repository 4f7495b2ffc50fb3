package nsjail

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"apibuilder/sandbox"
)

// Descriptors of the first program inside; the runner knows the first two.
const (
	listenFD  = 3
	controlFD = 4
	logFD     = 5 // nsjail's own messages; not passed on
)

const (
	maxFiles    = 16384 // descriptors
	tmpInodes   = 16384
	environment = "/env"
	runnerPath  = "/runner/runner.py"
)

// systemPaths hold the system's libraries and what they read. Those that are links on a host whose /usr is merged are
// links inside too; those that a host does not have are left out.
var systemPaths = []string{
	"/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib32", "/lib64",
	"/usr/share/zoneinfo", "/usr/share/ca-certificates", "/etc/ssl/certs", "/etc/ca-certificates",
	"/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types",
}

// devices are the whole of /dev, but for links to /proc/self/fd and /tmp.
var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

// jail is everything that nsjail's command line is made from. No text of an author's is in it: code and environment
// values go over the control descriptor.
type jail struct {
	layout      layout
	uid         uint32
	limits      sandbox.Limits
	environment string   // host's directory seen as /env; none in the trial
	mounts      []string // further paths seen under their own names
}

// args is nsjail's command line up to and including the program and its arguments.
func (j jail) args(passed []int, program ...string) []string {
	mib := func(n int64) string { return strconv.FormatInt(max(1, n>>20), 10) }
	a := []string{
		"--mode", "o", "--quiet", "--forward_signals",
		"--user", fmt.Sprintf("%d:%d:1", insideUID, j.uid), "--group", fmt.Sprintf("%d:%d:1", insideUID, j.uid),
		"--hostname", "sandbox", "--cwd", "/tmp", "--time_limit", "0", "--nice_level", "0",
		// The control group bounds memory, CPU and processes; a limit above the host's hard one would fail the start.
		"--rlimit_as", "hard", "--rlimit_cpu", "hard", "--rlimit_nproc", "hard", "--rlimit_core", "0", "--rlimit_fsize", mib(j.limits.TmpBytes),
		"--rlimit_nofile", strconv.FormatUint(fileLimit(), 10), "--rlimit_stack", "8",
		"--rlimit_memlock", "64", "--rlimit_rtprio", "0", "--rlimit_msgqueue", "65536",
		"--seccomp_policy", j.layout.policy(),
		"--env", "PATH=/env/bin:/usr/bin", "--env", "HOME=/tmp", "--env", "TMPDIR=/tmp", "--env", "LANG=C.UTF-8",
		"--env", "MALLOC_ARENA_MAX=2", // glibc's one arena a thread would count against the memory limit
	}
	if len(passed) > 0 {
		a = append(a, "--log_fd", strconv.Itoa(logFD))
	}
	for _, fd := range passed {
		a = append(a, "--pass_fd", strconv.Itoa(fd))
	}
	a = append(a, j.mountArgs()...)
	return append(append(a, "--"), program...)
}

func (j jail) mountArgs() []string {
	var a []string
	bind := func(from, to string) { a = append(a, "--bindmount_ro", from+":"+to) }
	for _, path := range systemPaths {
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		if target, err := os.Readlink(path); err == nil && info.Mode()&os.ModeSymlink != 0 && path != "/etc/localtime" {
			a = append(a, "--symlink", target+":"+path)
			continue
		}
		bind(path, path)
	}
	for _, path := range j.mounts {
		if !below("/usr/lib", path) {
			bind(path, path)
		}
	}
	for _, name := range sortedKeys(etcFiles) {
		bind(filepath.Join(j.layout.dir, "etc", name), "/etc/"+name)
	}
	for _, path := range devices {
		a = append(a, "--bindmount", path+":"+path)
	}
	a = append(a,
		"--symlink", "/proc/self/fd:/dev/fd", "--symlink", "/proc/self/fd/0:/dev/stdin",
		"--symlink", "/proc/self/fd/1:/dev/stdout", "--symlink", "/proc/self/fd/2:/dev/stderr",
		// Both name the one writable place: POSIX semaphores and shared memory go to /dev/shm (shm_overview(7)).
		"--symlink", "/tmp:/dev/shm", "--symlink", "/tmp:/var/tmp",
		"--mount", fmt.Sprintf("none:/tmp:tmpfs:size=%d,nr_inodes=%d,mode=1777", j.limits.TmpBytes, tmpInodes))
	if j.environment != "" {
		bind(j.environment, environment)
		bind(j.layout.runner(), runnerPath)
	}
	return a
}

// fileLimit is maxFiles or the host's hard limit, whichever is lower.
func fileLimit() uint64 {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return maxFiles
	}
	return min(maxFiles, r.Max)
}

// below reports whether path is dir or lies in it.
func below(dir, path string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// explainLog picks the sentences from nsjail's log lines: "[E][2026-01-02T03:04:05+0000][12] func():34 text".
func explainLog(log string) string {
	var lines []string
	for line := range strings.Lines(log) {
		if _, text, ok := strings.Cut(line, "():"); ok {
			_, line, _ = strings.Cut(text, " ")
		}
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
