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
	at     *place       // in the jail; nil: beside it, for interpreters of this machine alone
	reads  bool         // it writes nothing, and so may run where the disk is full
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

// run runs a program as the build user, and ends it with its children when ctx ends, when it takes more of the disk than
// it may, or when this process dies.
func (b *Builder) run(ctx context.Context, c command) (output, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stdout := &capped{max: maxStdout}
	stderr := &lineWriter{scrub: b.clean, onLine: c.onLine}
	cmd := &exec.Cmd{
		Path: c.argv[0], Args: c.argv, Dir: c.dir, Env: c.env, Stdin: strings.NewReader(c.stdin), Stdout: stdout, Stderr: stderr,
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if !c.reads {
			b.watchDisk(ctx, c.at, cancel)
		}
	}()
	launch := b.runPlain
	if c.at != nil {
		launch = c.at.run(b.cfg)
	}
	err := launch(ctx, cmd)
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
	return out, explainLimit(err)
}

// clean is for people: without secrets, with the index's own address.
func (b *Builder) clean(line string) string {
	if b.up != nil {
		line = b.up.original(line)
	}
	return b.scrub.line(line)
}

// runPlain runs an interpreter of this machine, which is trusted, in a process group of its own.
func (b *Builder) runPlain(ctx context.Context, cmd *exec.Cmd) error {
	// The kernel sends Pdeathsig when the thread that started the child ends: keep that thread here (see prctl(2)).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	plain := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	plain.Dir, plain.Env, plain.Stdin, plain.Stdout, plain.Stderr = cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr
	plain.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: b.cfg.BuildUID, Gid: b.cfg.BuildGID},
		Setpgid:    true,
		Pdeathsig:  syscall.SIGKILL,
	}
	plain.Cancel = func() error { return syscall.Kill(-plain.Process.Pid, syscall.SIGKILL) }
	plain.WaitDelay = 5 * time.Second
	if err := plain.Run(); err != nil {
		return fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	return nil
}

// watchDisk ends a build that takes too much of the disk: a wheel may unpack to much more than it has.
func (b *Builder) watchDisk(ctx context.Context, at *place, cancel context.CancelCauseFunc) {
	wait := 100 * time.Millisecond
	for timer := time.NewTimer(0); ; timer.Reset(wait) {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		var s unix.Statfs_t
		if err := unix.Statfs(b.cfg.Dir, &s); err == nil && s.Bavail*uint64(s.Bsize) < b.reserve {
			cancel(errDiskFull)
			return
		}
		if at == nil {
			continue
		}
		begin := time.Now()
		size, err := measure(at.scratch.top)
		switch {
		case errors.Is(err, errTooDeep):
			cancel(unwelcome("more than %d directories in each other", maxDepth))
			return
		case err != nil || size.bytes > b.cfg.MaxBytes:
			cancel(tooLarge("filled", b.cfg.MaxBytes))
			return
		case size.files > maxFiles:
			cancel(tooMany())
			return
		}
		wait = max(100*time.Millisecond, 20*time.Since(begin)) // so that looking costs little, however much there is
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
