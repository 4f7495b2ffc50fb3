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
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/sandbox"
	"apibuilder/sandbox/cgroup"
)

// process is one jail: nsjail, what runs in it, and what they hold on this host.
type process struct {
	cmd       *exec.Cmd
	group     controlGroup
	control   net.Conn
	socket    string // name to connect to
	status    sandbox.Status
	done      chan struct{}
	release   func() // gives back what the jail's processes might still use
	leftovers *leftovers

	// It was ended because it held too many locks of files, or because too many connections waited in it.
	locksFull, queuesFull atomic.Bool
}

// controlGroup is what holds the jail's processes, a cgroup.Group.
type controlGroup interface {
	Procs() ([]int, error)
	Events() (cgroup.Events, error)
	Stats() (cgroup.Stats, error)
	CPUTime() (time.Duration, error)
	Kill() error
	Remove(context.Context) error
}

var _ sandbox.Sandbox = (*process)(nil)

// Launch implements sandbox.Driver.
func (d *Driver) Launch(ctx context.Context, l sandbox.Launch) (_ sandbox.Sandbox, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var undo cleanup
	defer func() {
		if err != nil {
			undo.run()
		}
	}()
	uid, release, err := d.uids.take()
	if err != nil {
		return nil, err
	}
	undo.add(release)
	d.heard.watch(uid, func(r refusal) { l.Output(r.line()) })
	undo.add(func() { d.heard.forget(uid) })
	group, err := d.tree.New(l.ID, d.groupLimits(l.Limits))
	if err != nil {
		return nil, err
	}
	undo.add(func() { _ = group.Remove(context.WithoutCancel(ctx)) })

	p := &process{group: group, done: make(chan struct{}), socket: d.socketName(l.ID), leftovers: d.leftovers}
	locks, queues := d.locks, d.queues
	locks.watch(uid, watched{p.processes, p.ender(&p.locksFull)})
	undo.add(func() { locks.forget(uid) })
	queues.watch(uid, watched{p.processes, p.ender(&p.queuesFull)})
	undo.add(func() { queues.forget(uid) })
	listener, err := listen(p.socket)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	undo.add(func() { _ = os.Remove(p.socket) })
	control, inside, err := controlPair()
	if err != nil {
		return nil, err
	}
	defer inside.Close()
	p.control = control
	undo.add(func() { _ = control.Close() })

	j := jail{layout: d.layout, uid: uid, limits: l.Limits, environment: l.Environment, shown: interpreterPaths(l), network: l.Network != nil, audited: audited()}
	config, err := newConfiguration(j.config())
	if err != nil {
		return nil, err
	}
	defer config.close()
	outside, err := d.openOutside(l.Network)
	if err != nil {
		return nil, err
	}
	undo.add(outside.close)
	//nolint:noctx // ctx bounds the launch; the process lives on until it is terminated or killed
	p.cmd = exec.Command(d.cfg.Nsjail, j.args([]int{listenFD, controlFD, verdictFD}, environment+"/bin/python", "-I", "-S", "-B", bootPath)...)
	p.cmd.Env = []string{"PATH=/usr/bin:/bin"} // nsjail's own: no secret of ours is in reach of /proc/PID/environ
	outputs, err := p.connectOutputs()
	if err != nil {
		return nil, err
	}
	p.cmd.ExtraFiles = []*os.File{listener, inside, outputs.log.write, config.read, outputs.verdict.write} // descriptors 3 to 7
	err = config.start(p.cmd, func() error { return outside.start(group, p.cmd) })
	outputs.closeWriters()
	if err != nil {
		outputs.closeReaders()
		return nil, fmt.Errorf("start nsjail: %w", err)
	}
	killer := func() string { return d.heard.killer(uid) }
	p.release = func() {
		d.heard.forget(uid)
		locks.forget(uid)
		queues.forget(uid)
		outside.close()
		release()
	}
	go p.supervise(outputs, l.Output, killer, outside.netlink())
	return p, nil
}

// processes are those of the jail, nsjail itself among them.
func (p *process) processes() []int {
	all, _ := p.group.Procs() // none: it has ended
	return all
}

// ender ends the jail and says why.
func (p *process) ender(why *atomic.Bool) func() {
	return func() {
		why.Store(true)
		_ = p.Kill() // retried when the group is removed
	}
}

// overheadPids are the processes of ours that count in a sandbox's group: nsjail and PID 1.
const overheadPids = 2

func (d *Driver) socketName(id string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.sockets.Fd(), filepath.Base(id))
}

// listen makes a fresh listening socket and returns its descriptor alone.
func listen(name string) (*os.File, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen for the sandbox: %w", err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	return l.File()
}

func controlPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the control socket: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make the control socket: %w", err), theirs.Close())
	}
	return conn, theirs, nil
}

type pipe struct{ read, write *os.File }

type outputs struct{ out, err, log, verdict pipe }

func (o outputs) pipes() []pipe { return []pipe{o.out, o.err, o.log, o.verdict} }

func (p *process) connectOutputs() (o outputs, err error) {
	for _, dst := range []*pipe{&o.out, &o.err, &o.log, &o.verdict} {
		if dst.read, dst.write, err = os.Pipe(); err != nil {
			o.closeReaders()
			o.closeWriters()
			return o, fmt.Errorf("make a pipe for the program's output: %w", err)
		}
	}
	p.cmd.Stdout, p.cmd.Stderr = o.out.write, o.err.write
	return o, nil
}

func (o outputs) closeReaders() {
	for _, p := range o.pipes() {
		if p.read != nil {
			_ = p.read.Close()
		}
	}
}

func (o outputs) closeWriters() {
	for _, p := range o.pipes() {
		if p.write != nil {
			_ = p.write.Close()
		}
	}
}

// supervise is the only waiter of the nsjail process. It gives everything back before it closes done, or leaves to the leftovers what
// cannot be given back yet.
func (p *process) supervise(o outputs, output func(sandbox.Line), killer func() string, netlink *os.File) {
	var readers, watchers sync.WaitGroup
	ended, tooMuch := make(chan struct{}), false
	if netlink != nil {
		watchers.Go(func() {
			watchNetlink(netlink, ended, func() {
				tooMuch = true
				_ = p.Kill() // retried when the group is removed
			})
		})
	}
	var log, verdict strings.Builder
	readers.Go(func() { sandbox.ReadLines(o.out.read, "stdout", output) })
	readers.Go(func() { sandbox.ReadLines(o.err.read, "stderr", output) })
	readers.Go(func() { _, _ = io.Copy(&verdict, io.LimitReader(o.verdict.read, 16)) })
	readers.Go(func() {
		_, _ = io.Copy(&log, io.LimitReader(o.log.read, 64<<10))
		_, _ = io.Copy(io.Discard, o.log.read)
	})
	_ = p.cmd.Wait() // the state says more than this error
	close(ended)
	watchers.Wait()
	events, eventsErr := p.group.Events()
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	removeErr := p.group.Remove(ctx) // ends what nsjail left; then nobody holds the pipes
	deadline := time.Now().Add(outputTimeout)
	for _, p := range o.pipes() {
		_ = p.read.SetReadDeadline(deadline)
	}
	readers.Wait()
	o.closeReaders()
	_ = os.Remove(p.socket)
	p.status = status(p.cmd.ProcessState, events, explainLog(log.String()))
	p.status.Err = errors.Join(p.status.Err, eventsErr, removeErr)
	p.status.NetlinkFull, p.status.LocksFull, p.status.QueuesFull = tooMuch, p.locksFull.Load(), p.queuesFull.Load()
	p.status.DiskFull = verdict.String() == "disk_full"
	if p.status.Signal == "SIGSYS" {
		p.status.Syscall = killer()
	}
	if removeErr == nil {
		p.release()
	} else { // a user id whose processes would not end is not given to anybody else
		p.leftovers.add(p.group, p.release)
	}
	close(p.done)
}

const (
	removeTimeout = 30 * time.Second
	outputTimeout = 5 * time.Second // for what is still in the pipes of a flooding program
)

// nsjailFailed is nsjail's exit code when it could not start its child. A program may exit with it as well, so it counts
// only together with a message of nsjail's own.
const nsjailFailed = 255

func status(state *os.ProcessState, e cgroup.Events, log string) sandbox.Status {
	s := sandbox.Status{OOMKilled: e.OOMKills > 0, PidsRefused: e.PidsRefused > 0}
	wait, _ := state.Sys().(syscall.WaitStatus)
	switch {
	case wait.Signaled():
		s.Signal = unix.SignalName(wait.Signal())
	case state.ExitCode() == nsjailFailed && log != "":
		s.Code = nsjailFailed
		s.Err = fmt.Errorf("nsjail did not start the sandbox: %s", log)
	case state.ExitCode() > 128: // PID 1 and nsjail pass a signal on in the way of shells
		s.Code = state.ExitCode()
		s.Signal = unix.SignalName(syscall.Signal(s.Code - 128))
	default:
		s.Code = state.ExitCode()
	}
	return s
}

func (p *process) Control() net.Conn { return p.control }

func (p *process) Dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", p.socket)
}

func (p *process) Stats() (sandbox.Stats, error) {
	s, err := p.group.Stats()
	return sandbox.Stats{
		MemoryBytes: s.MemoryBytes, MemoryPeakBytes: s.MemoryPeakBytes, CPUTime: s.CPUTime, Throttled: s.Throttled,
		Pids: s.Pids, MemoryPressure: s.Pressure.Memory, CPUPressure: s.Pressure.CPU,
	}, err
}

func (p *process) CPUTime() (time.Duration, error) { return p.group.CPUTime() }

func (p *process) Terminate() error { return p.cmd.Process.Signal(syscall.SIGTERM) }

func (p *process) Kill() error { return p.group.Kill() }

func (p *process) Done() <-chan struct{} { return p.done }

func (p *process) Status() sandbox.Status { return p.status }

// cleanup is a stack of what to undo.
type cleanup []func()

func (c *cleanup) add(f func()) { *c = append(*c, f) }

func (c *cleanup) run() {
	for i := len(*c) - 1; i >= 0; i-- {
		(*c)[i]()
	}
}
