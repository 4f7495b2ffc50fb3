package nsjail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"apibuilder/sandbox"
	"apibuilder/sandbox/cgroup"
)

// BuildConfig is what a BuildJail needs. A zero limit means its default.
type BuildConfig struct {
	Nsjail   string // path of the nsjail binary
	Dir      string // as Config.Dir
	Instance string // as Config.Instance, and another one
	UID, GID uint32 // that builds run as on this host; nobody else may have them

	MemoryBytes  int64   // of one program and its children, page cache included; 2 GiB
	CPU          float64 // cores; all of them
	Pids         int     // processes and threads; 512
	FileBytes    int64   // of one file; 4 GiB
	WrittenBytes int64   // written to files by one program and its children together, deleted ones too; 24 GiB
}

// BuildJail runs the programs that build environments: with the namespaces, the seccomp policy and the control groups
// of a sandbox, as the build user. Its methods may be called concurrently.
type BuildJail struct {
	cfg    BuildConfig
	layout layout
	tree   *cgroup.Tree
	serial atomic.Uint64
}

// NewBuildJail does no I/O; Start does.
func NewBuildJail(cfg BuildConfig) *BuildJail {
	def := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&cfg.MemoryBytes, 2<<30)
	def(&cfg.FileBytes, 4<<30)
	def(&cfg.WrittenBytes, 24<<30)
	if cfg.CPU <= 0 {
		cfg.CPU = float64(runtime.NumCPU())
	}
	if cfg.Pids <= 0 {
		cfg.Pids = 512
	}
	return &BuildJail{cfg: cfg}
}

// Start prepares the control groups and ends what a dead process of the same instance left. Stop must be called.
func (b *BuildJail) Start(ctx context.Context) (err error) {
	if b.cfg.UID == 0 || b.cfg.GID == 0 {
		return errors.New("prepare the build jail: its user and group must not be root")
	}
	if b.layout, err = prepareLayout(b.cfg.Dir); err != nil {
		return err
	}
	tree, err := cgroup.Open(b.cfg.Instance)
	if err != nil {
		return err
	}
	if err := tree.Clean(ctx); err != nil {
		return errors.Join(fmt.Errorf("end what a dead build left: %w", err), tree.Close())
	}
	b.tree = tree
	return nil
}

// Stop gives back what Start took. No program may be running. It may be called twice or without a start.
func (b *BuildJail) Stop(context.Context) error {
	if b.tree == nil {
		return nil
	}
	err := b.tree.Close()
	b.tree = nil
	return err
}

// LimitError says that a program was ended because it used too much.
type LimitError struct {
	limit string
	text  string
}

// Error is a sentence.
func (e *LimitError) Error() string { return e.text }

// Exceeded names the limit: memory, processes or written.
func (e *LimitError) Exceeded() string { return e.limit }

// Run runs cmd, of which Args, Dir, Env, Stdin, Stdout and Stderr count, and returns when none of its processes is left.
// It sees the system's libraries, what is listed in readOnly, and what is in writable, all under their own names; a path
// in a directory that is listed before it lies on top of it. There is no network; where serve is given there is loopback,
// and serve accepts what comes to its port 80 until the listener is closed at the program's end.
//
// The error is an *exec.ExitError when the program failed, a *LimitError when it used too much, ctx's cause when that
// ended first, and anything else when the jail could not be made.
func (b *BuildJail) Run(ctx context.Context, cmd *exec.Cmd, readOnly, writable []string, serve func(net.Listener)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	name := fmt.Sprintf("b%d", b.serial.Add(1))
	group, err := b.tree.New(name, cgroup.Limits{MemoryBytes: b.cfg.MemoryBytes, CPU: b.cfg.CPU, Pids: b.cfg.Pids})
	if err != nil {
		return err
	}
	err = b.runIn(ctx, group, cmd, readOnly, writable, serve)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	return errors.Join(err, group.Remove(end))
}

func (b *BuildJail) runIn(ctx context.Context, group *cgroup.Group, cmd *exec.Cmd, readOnly, writable []string, serve func(net.Listener)) error {
	config, err := newConfiguration(config(b.mounts(readOnly, writable)))
	if err != nil {
		return err
	}
	defer config.close()
	logRead, logWrite, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe for nsjail's messages: %w", err)
	}
	defer logRead.Close()
	//nolint:noctx // its whole group is killed when ctx ends
	jailed := exec.Command(b.cfg.Nsjail, b.args(cmd, serve != nil)...)
	jailed.Env = []string{"PATH=/usr/bin:/bin"}
	jailed.Stdin, jailed.Stdout, jailed.Stderr = cmd.Stdin, cmd.Stdout, cmd.Stderr
	jailed.ExtraFiles = []*os.File{2: logWrite, 3: config.read} // as descriptors 5 and 6
	jailed.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	jailed.WaitDelay = outputTimeout
	start := func() error { return group.Start(jailed) }
	if serve != nil {
		namespace, listener, err := newNetwork()
		if err != nil {
			logWrite.Close()
			return err
		}
		defer namespace.Close()
		var served sync.WaitGroup
		served.Go(func() { serve(listener) })
		defer served.Wait()
		defer listener.Close()
		start = func() error { return group.StartIn(namespace, jailed) }
	}
	err = config.start(jailed, start)
	logWrite.Close()
	if err != nil {
		return fmt.Errorf("start nsjail: %w", err)
	}
	return b.supervise(ctx, group, jailed, logRead)
}

// supervise is the only waiter of the nsjail process.
func (b *BuildJail) supervise(ctx context.Context, group *cgroup.Group, jailed *exec.Cmd, log io.Reader) error {
	watched, ended := make(chan error, 1), make(chan struct{})
	go func() { watched <- b.watch(ctx, group, ended) }()
	var said strings.Builder
	var reader sync.WaitGroup
	reader.Go(func() { _, _ = io.Copy(&said, io.LimitReader(log, 64<<10)) })
	err := jailed.Wait()
	close(ended)
	exceeded := <-watched
	events, eventsErr := group.Events()
	killErr := group.Kill() // so that nobody holds the pipe
	reader.Wait()
	if err := errors.Join(eventsErr, killErr); err != nil {
		return err
	}
	switch {
	case err == nil:
		return nil
	case exceeded != nil:
		return exceeded
	case events.OOMKills > 0:
		return &LimitError{"memory", fmt.Sprintf("it needed more than %d MiB of memory", b.cfg.MemoryBytes>>20)}
	case events.PidsRefused > 0:
		return &LimitError{"processes", fmt.Sprintf("it needed more than %d processes and threads", b.cfg.Pids)}
	case jailed.ProcessState.ExitCode() == nsjailFailed && explainLog(said.String()) != "":
		return fmt.Errorf("run a program in nsjail: %s%s", explainLog(said.String()), remedy(said.String()))
	}
	return err
}

// watch kills the group when ctx ends or when it has written too much, and says which; nil when the program ended first.
func (b *BuildJail) watch(ctx context.Context, group *cgroup.Group, ended <-chan struct{}) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	written := map[int]int64{}
	for {
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), group.Kill())
		case <-tick.C:
			if countWritten(group, written) > b.cfg.WrittenBytes {
				limit := &LimitError{"written", fmt.Sprintf("it wrote more than %d MiB", b.cfg.WrittenBytes>>20)}
				return errors.Join(limit, group.Kill())
			}
		}
	}
}

// countWritten adds up what the processes of a group have written to files, by the kernel's account (proc_pid_io(5)), and
// what those had that have ended since. A process that lives between two counts is missed: whoever can start such processes
// has their scratch directory measured as well.
func countWritten(group *cgroup.Group, written map[int]int64) int64 {
	pids, _ := group.Procs()
	for _, pid := range pids {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/io")
		if err != nil {
			continue
		}
		if _, rest, ok := strings.Cut(string(text), "\nwrite_bytes: "); ok {
			line, _, _ := strings.Cut(rest, "\n")
			n, _ := strconv.ParseInt(line, 10, 64)
			written[pid] = max(written[pid], n)
		}
	}
	var sum int64
	for _, n := range written {
		sum += n
	}
	return sum
}

// mounts are what a build sees. Its /tmp comes first, because what it builds in may lie below the host's.
func (b *BuildJail) mounts(readOnly, writable []string) []mount {
	j := jail{layout: b.layout, limits: sandbox.Limits{TmpBytes: 64 << 20}}
	all := append(j.tmpMounts(), j.systemMounts(readOnly)...)
	for _, path := range writable {
		all = append(all, mount{from: path, to: path, write: true})
	}
	return all
}

// args is nsjail's command line, the program's own behind it.
func (b *BuildJail) args(cmd *exec.Cmd, network bool) []string {
	a := []string{
		"--config", configPath, "--disable_proc", "--mode", "o", "--quiet", "--log_fd", strconv.Itoa(logFD),
		"--user", fmt.Sprintf("%d:%d:1", insideUID, b.cfg.UID), "--group", fmt.Sprintf("%d:%d:1", insideUID, b.cfg.GID),
		"--hostname", "build", "--cwd", cmd.Dir, "--time_limit", "0", "--nice_level", "0",
		"--rlimit_as", "hard", "--rlimit_cpu", "hard", "--rlimit_nproc", "hard", "--rlimit_core", "0",
		"--rlimit_fsize", strconv.FormatInt(b.cfg.FileBytes>>20, 10), "--rlimit_nofile", strconv.FormatUint(min(4096, fileLimit()), 10),
		"--rlimit_stack", "8", "--rlimit_memlock", "64", "--rlimit_rtprio", "0", "--rlimit_msgqueue", "65536",
		"--seccomp_policy", b.layout.policy(false),
	}
	if network {
		a = append(a, "--disable_clone_newnet")
	}
	for _, variable := range cmd.Env {
		a = append(a, "--env", variable)
	}
	return append(append(a, "--"), cmd.Args...)
}

// BuildInstance names the control groups of builds beside those of the sandboxes of the same directory.
func BuildInstance(dir string) string { return InstanceName(filepath.Clean(dir)) + "-builds" }
