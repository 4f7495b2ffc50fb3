package nsjail

import (
	"fmt"
	"maps"
	"math"
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
	configFD  = 6 // nsjail's configuration; not passed on
	verdictFD = 7 // what PID 1 adds at its end
)

const (
	maxFiles    = 16384 // descriptors
	tmpInodes   = 16384
	environment = "/env"
	runnerDir   = "/runner"
	bootPath    = runnerDir + "/boot.py"
)

// jail is everything that nsjail's command line is made from. No text of an author's is in it: code and environment
// values go over the control descriptor.
type jail struct {
	layout      layout
	uid         uint32
	limits      sandbox.Limits
	environment string   // host's directory seen as /env; none in the trial
	shown       []string // further paths seen under their own names
	network     bool     // it is started in a network namespace that is there
	audited     bool     // what the kernel records goes to auditd
}

// args is nsjail's command line up to and including the program and its arguments.
func (j jail) args(passed []int, program ...string) []string {
	mib := func(n int64) string { return strconv.FormatInt(max(1, n>>20), 10) }
	a := []string{
		"--config", configPath, // first: what follows adds to it
		"--disable_proc", // it is among the mounts, below what hides parts of it
		"--mode", "o", "--quiet", "--forward_signals",
		"--user", fmt.Sprintf("%d:%d:1", insideUID, j.uid), "--group", fmt.Sprintf("%d:%d:1", insideUID, j.uid),
		"--hostname", "sandbox", "--cwd", "/tmp", "--time_limit", "0", "--nice_level", "0",
		// The control group bounds memory, CPU and processes; a limit above the host's hard one would fail the start.
		"--rlimit_as", "hard", "--rlimit_cpu", "hard", "--rlimit_nproc", "hard", "--rlimit_core", "soft", "--rlimit_fsize", mib(j.limits.TmpBytes + 1<<20), // so that a full /tmp says that it is full
		"--rlimit_nofile", strconv.FormatUint(fileLimit(), 10), "--rlimit_stack", "8",
		"--rlimit_memlock", "64", "--rlimit_rtprio", "0", "--rlimit_msgqueue", "65536",
		"--seccomp_policy", j.layout.policy(j.network),
		"--env", "PATH=/env/bin:/usr/bin", "--env", "HOME=/tmp", "--env", "TMPDIR=/tmp", "--env", "LANG=C.UTF-8",
		"--env", "MALLOC_ARENA_MAX=2", // glibc's one arena a thread would count against the memory limit
	}
	if fileExists("/proc/self/ns/time") {
		a = append(a, "--enable_clone_newtime")
	}
	for _, name := range threadVariables {
		a = append(a, "--env", name+"="+strconv.Itoa(int(math.Ceil(j.limits.CPU))))
	}
	if !j.audited { // nothing bounds the rate of records that auditd takes, and refusals hears none of them
		a = append(a, "--seccomp_log")
	}
	if j.network {
		a = append(a, "--disable_clone_newnet")
	}
	if len(passed) > 0 {
		a = append(a, "--log_fd", strconv.Itoa(logFD))
	}
	for _, fd := range passed {
		a = append(a, "--pass_fd", strconv.Itoa(fd))
	}
	return append(append(a, "--"), program...)
}

// threadVariables say how many threads libraries for numbers start. They would take the host's cores for their own, and
// wait for each other within the CPU limit or run into the process limit. Authors may set others.
var threadVariables = []string{
	"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS", "NUMBA_NUM_THREADS",
	"POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "TOKIO_WORKER_THREADS", "OPENCV_FOR_THREADS_NUM", "LOKY_MAX_CPU_COUNT",
}

// fileLimit is maxFiles or the host's hard limit, whichever is lower.
func fileLimit() uint64 {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return maxFiles
	}
	return min(maxFiles, r.Max)
}

// explainLog picks the sentences from nsjail's log lines: "[E][2026-01-02T03:04:05+0000][12] func():34 text". Where there are
// only warnings nothing went wrong: every sandbox with a time namespace has one.
func explainLog(log string) string {
	var lines []string
	var wrong bool
	for line := range strings.Lines(log) {
		if strings.Contains(line, "CLONE_NEWTIME") && strings.HasPrefix(line, "[W]") {
			continue
		}
		wrong = wrong || !strings.HasPrefix(line, "[W]")
		if _, text, ok := strings.Cut(line, "():"); ok {
			_, line, _ = strings.Cut(text, " ")
		}
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if !wrong {
		return ""
	}
	return strings.Join(lines, "\n")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
