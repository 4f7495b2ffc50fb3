package pythonenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// command is a program to run as the build user.
type command struct {
	argv   []string
	dir    string
	env    []string // the whole of it
	stdin  string
	onLine func(string) // gets each line of standard error, scrubbed; may be nil
}

// output is what a program printed, standard error scrubbed and cut to its last part.
type output struct {
	stdout []byte
	stderr string
}

const (
	maxStderr = 64 << 10
	maxStdout = 16 << 20
)

var errDiskFull = errors.New("the disk is nearly full")

// run runs a program as the build user in a process group of its own, which is killed when ctx ends, when the disk is
// nearly full, or when this process dies.
func (b *Builder) run(ctx context.Context, c command) (output, error) {
	// The kernel sends Pdeathsig when the thread that started the child ends: keep that thread here (see prctl(2)).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin = c.dir, c.env, strings.NewReader(c.stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: b.cfg.BuildUID, Gid: b.cfg.BuildGID},
		Setpgid:    true,
		Pdeathsig:  syscall.SIGKILL,
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	stdout := &capped{max: maxStdout}
	stderr := &lineWriter{scrub: b.scrub.line, onLine: c.onLine}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		return output{}, fmt.Errorf("start %s: %w", c.argv[0], err)
	}
	limit(cmd.Process.Pid)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		b.watchDisk(ctx, cancel)
	}()
	err := cmd.Wait()
	cause := context.Cause(ctx)
	cancel(nil)
	<-watched
	stderr.flush()
	out := output{stdout: stdout.Bytes(), stderr: stderr.text()}
	switch {
	case cause != nil && err != nil:
		return out, cause
	case stdout.over:
		return out, fmt.Errorf("run %s: it printed more than %d bytes", c.argv[0], maxStdout)
	}
	return out, err
}

// limit bounds what the build user's program may take. It is set just after the start because Go has no way to set it
// before; what it bounds takes longer to reach.
func limit(pid int) {
	for resource, max := range map[int]uint64{
		unix.RLIMIT_CORE: 0, unix.RLIMIT_NOFILE: 4096, unix.RLIMIT_FSIZE: 4 << 30,
	} {
		_ = unix.Prlimit(pid, resource, &unix.Rlimit{Cur: max, Max: max}, nil)
	}
}

// watchDisk ends a build that would fill the disk: a wheel may unpack to much more than it has.
func (b *Builder) watchDisk(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		var s unix.Statfs_t
		if err := unix.Statfs(b.cfg.Dir, &s); err == nil && s.Bavail*uint64(s.Bsize) < b.reserve {
			cancel(errDiskFull)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// capped keeps at most max bytes and remembers that there was more.
type capped struct {
	bytes.Buffer
	max  int
	over bool
}

func (c *capped) Write(p []byte) (int, error) {
	room := c.max - c.Len()
	if len(p) > room {
		c.over = true
	}
	_, _ = c.Buffer.Write(p[:min(room, len(p))])
	return len(p), nil
}

// lineWriter passes on lines and keeps the last of them.
type lineWriter struct {
	scrub   func(string) string
	onLine  func(string)
	partial []byte
	kept    []string
	size    int
}

// maxLine is where an endless line is cut.
const maxLine = 4 << 10

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		at := bytes.IndexByte(p, '\n')
		part := p
		if at >= 0 {
			part = p[:at]
		}
		w.partial = append(w.partial, part[:min(len(part), maxLine-len(w.partial))]...)
		if at < 0 {
			break
		}
		w.flush()
		p = p[at+1:]
	}
	return n, nil
}

func (w *lineWriter) flush() {
	if len(w.partial) == 0 {
		return
	}
	line := w.scrub(string(w.partial))
	w.partial = w.partial[:0]
	w.kept = append(w.kept, line)
	for w.size += len(line) + 1; w.size > maxStderr; w.kept = w.kept[1:] {
		w.size -= len(w.kept[0]) + 1
	}
	if w.onLine != nil {
		w.onLine(line)
	}
}

func (w *lineWriter) text() string { return strings.Join(w.kept, "\n") }
