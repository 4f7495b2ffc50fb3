package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"apibuilder/egress"
)

// launcher starts instances with one driver. A start has two halves: a sandbox in which the runner waits, and the program
// that it is given. The first half is the longer one, and can be done before anybody asks: see pool.
type launcher struct {
	driver       Driver
	defaults     Limits
	startTimeout time.Duration
	newTransport func(Dialer) Transport
	gate         *egress.Gate // nil: nothing outside is reached
	onOutput     func(api string, version int, line Line)
	onExit       func(Exit)
	pool         *pool // nil: every sandbox is started when it is needed
	learned      learned
	turns        *semaphore.Weighted // for the first half of starts that somebody waits for
}

// place is everything about a sandbox that is decided before its program is known.
type place struct {
	environment, python string
	inode               uint64 // of the environment: one that was removed and built again is another
	mounts              string // apart by NUL bytes
	network             bool   // it has one besides loopback
	limits              Limits
	imports             string // modules that are imported beforehand, apart by spaces; empty: what every program needs
}

func placeOf(spec Spec, imports string) place {
	return place{
		environment: spec.Environment, python: spec.Python, mounts: strings.Join(spec.Mounts, "\x00"), limits: spec.Limits, imports: imports,
		network: !spec.Egress.None(), inode: inodeOf(spec.Environment),
	}
}

// inodeOf tells a directory from one that takes its place later. While a sandbox has it mounted, its number is given to no other.
// It is 0 when there is none.
func inodeOf(dir string) uint64 {
	var stat unix.Stat_t
	if err := unix.Stat(dir, &stat); err != nil {
		return 0
	}
	return stat.Ino
}

// gone reports whether the place's environment is not there any more.
func (p place) gone() bool { return inodeOf(p.environment) != p.inode }

func (p place) launch(output func(Line)) Launch {
	var mounts []string
	if p.mounts != "" {
		mounts = strings.Split(p.mounts, "\x00")
	}
	return Launch{
		ID: randomHex(8), Environment: p.environment, Python: p.python, Mounts: mounts, Limits: p.limits, Output: output,
	}
}

// launch returns an instance that has answered its probe, or an *Exit. It calls stands when there is a sandbox, or should be: what comes
// then takes as long as the author's code likes.
func (l *launcher) launch(ctx context.Context, spec Spec, stands func()) (*Instance, error) {
	began := time.Now()
	spec.Limits = spec.Limits.Or(l.defaults)
	spec = l.admit(spec)
	i, err := l.launchWarm(ctx, spec, stands)
	if i == nil && err == nil {
		i, err = l.launchCold(ctx, spec, stands)
	}
	if err != nil {
		return nil, err
	}
	if imports := l.learned.imports(spec); l.pool != nil && imports != "" && spec.task == nil {
		l.pool.expect(spec, imports)
	}
	i.started = time.Now()
	i.startTime = i.started.Sub(began)
	i.startup.Asked, i.startup.Answered = began, i.started
	i.used(i.started)
	return i, nil
}

// launchWarm uses a sandbox that waits. It returns nothing when there is none, or when it did not live to get the program.
func (l *launcher) launchWarm(ctx context.Context, spec Spec, stands func()) (*Instance, error) {
	if l.pool == nil {
		return nil, nil
	}
	i := l.pool.take(spec, l.learned.imports(spec))
	if i == nil {
		return nil, nil
	}
	stands()
	now := time.Now()
	i.startup = Startup{Begun: now, Standing: now, Warm: true}
	ctx, cancel := context.WithTimeout(ctx, l.startTimeout)
	defer cancel()
	err := l.bring(ctx, i)
	if err == nil || i.isBegun() || ctx.Err() != nil {
		return i, err
	}
	return nil, nil // it has ended
}

func (l *launcher) launchCold(ctx context.Context, spec Spec, stands func()) (*Instance, error) {
	outer := ctx
	end, err := l.turn(outer, stands)
	if err != nil {
		return nil, err
	}
	defer end()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, l.startTimeout)
	defer cancel()
	i, err := l.begin(ctx, placeOf(spec, ""), &spec)
	if err != nil {
		if errors.Is(err, ErrNoRoom) || outer.Err() != nil {
			return nil, err
		}
		exit := l.stamp(spec, &Exit{Reason: SandboxFailed, Detail: err.Error()})
		if l.onExit != nil && spec.task == nil {
			l.onExit(*exit)
		}
		return nil, exit
	}
	if err := l.await(ctx, i, ""); err != nil {
		return nil, l.startFailure(ctx, i, err)
	}
	i.startup = Startup{Begun: begun, Standing: time.Now()}
	end() // the author's code has no say in how long others wait
	return i, l.bring(ctx, i)
}

// begin starts a sandbox. Without a program it belongs to nobody until it is claimed.
func (l *launcher) begin(ctx context.Context, p place, spec *Spec) (*Instance, error) {
	i := &Instance{idleC: make(chan struct{}, 1), hearing: make(chan struct{}, 1), done: make(chan struct{}), probePath: "/" + randomHex(16)}
	i.spec.Limits = p.limits
	l.equip(i, p)
	if spec != nil {
		i.claim(*spec)
		i.begun = true
	}
	launch := p.launch(func(line Line) { l.printed(i, line) })
	i.id = launch.ID
	launch.Network = i.guard
	sandbox, err := l.driver.Launch(ctx, launch)
	if err != nil {
		i.disconnect()
		return nil, err
	}
	i.sandbox = sandbox
	i.control = sandbox.Control()
	i.transport = l.newTransport(sandbox.Dial)
	go l.watch(i)
	return i, nil
}

// await returns when the runner waits for a program and has imported what is asked for.
func (l *launcher) await(ctx context.Context, i *Instance, imports string) error {
	defer within(ctx, i.control)()
	i.hearing <- struct{}{}
	defer func() { <-i.hearing }()
	err := expectWaiting(i.control)
	if err == nil && imports != "" {
		if err = writeOrder(i.control, order{Import: strings.Fields(imports)}); err == nil {
			err = expectWaiting(i.control)
		}
	}
	if exit, ok := errors.AsType[*Exit](err); ok {
		i.endWith(exit)
	}
	return err
}

// within has the end of ctx end reads and writes, until the function that it returns is called.
func within(ctx context.Context, control net.Conn) func() bool {
	return context.AfterFunc(ctx, func() { _ = control.SetDeadline(time.Unix(1, 0)) })
}

func expectWaiting(control net.Conn) error {
	e, err := readEvent(control)
	switch {
	case err != nil:
		return err
	case e.Event == "failed":
		return &Exit{Reason: e.Reason, Detail: e.Detail}
	case e.Event != "waiting":
		return outOfTurn(e)
	}
	return nil
}

func outOfTurn(e event) error { return fmt.Errorf("the runner says %q out of turn", e.Event) }

// bring hands the program to the runner and waits for its word and its first answer.
func (l *launcher) bring(ctx context.Context, i *Instance) error {
	defer i.control.Close()
	defer within(ctx, i.control)()
	if i.spec.Files != "" {
		if err := i.sandbox.Show(i.spec.Files); err != nil {
			return l.startFailure(ctx, i, l.stamp(i.spec, &Exit{Reason: SandboxFailed, Detail: err.Error()}))
		}
	}
	o := l.order(ctx, i)
	learn := o.Learn
	e, err := i.hand(o)
	switch {
	case err == nil && e.Event == "failed":
		err = &Exit{Reason: e.Reason, Detail: e.Detail}
	case err == nil && e.Event == "started" && i.spec.task != nil:
	case err == nil && e.Event == "started":
		if i.spec.Describe {
			i.routes = e.Routes
		}
		i.startup.Imported = time.Now()
		if learn {
			l.learned.learn(i.spec, e)
		}
		if err = i.Probe(ctx); err == nil {
			err = i.awaitHealth(ctx)
		}
	case err == nil:
		err = outOfTurn(e)
	}
	if err == nil {
		return nil
	}
	return l.startFailure(ctx, i, err)
}

// hand gives the runner its order and returns what it says of it. What comes before the word that the program has arrived is out of
// turn: packages have run by then, and without that word nobody would know whose sandbox it is.
func (i *Instance) hand(o order) (e event, err error) {
	i.hearing <- struct{}{}
	defer func() { <-i.hearing }()
	err = writeOrder(i.control, o)
	if err == nil {
		e, err = readEvent(i.control)
	}
	switch {
	case err != nil || e.Event == "failed":
	case e.Event == "taken": // once: a program that says it for ever would have the host read for ever
		i.begin()
		e, err = readEvent(i.control)
	default:
		err = outOfTurn(e)
	}
	if err == nil && e.Event == "failed" {
		i.endWith(&Exit{Reason: e.Reason, Detail: e.Detail})
	}
	return e, err
}

func (l *launcher) order(ctx context.Context, i *Instance) order {
	o := order{
		RootPath: i.spec.RootPath, Env: i.spec.Env, Probe: i.probePath, Describe: i.spec.Describe, Entry: i.spec.Entry,
		PatienceSeconds: patience(ctx).Seconds(),
	}
	if i.spec.Files == "" {
		o.Code, o.Entry = i.spec.Code, ""
	}
	if t := i.spec.task; t != nil {
		o.Task, o.Args = t.Code, t.Args
		return o
	}
	o.Learn = l.pool != nil && !l.learned.knows(i.spec)
	return o
}

// patience is when a program should say what it is still doing: some time before ctx ends, so that it is read.
func patience(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline)
	return left - max(left/10, min(left/2, 2*time.Second))
}

// startFailure ends an instance whose start broke off and tells why: the program said so, it died, or time ran out.
func (l *launcher) startFailure(ctx context.Context, i *Instance, err error) *Exit {
	if exit, ok := errors.AsType[*Exit](err); ok {
		return i.kill(exit)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return i.kill(&Exit{
			Reason: StartTimeout,
			Detail: fmt.Sprintf("the program did not finish starting within %v", l.startTimeout),
		})
	}
	if ctx.Err() != nil {
		return i.kill(&Exit{Reason: Draining, Detail: "the start was given up"})
	}
	select {
	case <-i.done:
		l.reportExit(i)
		return i.Exit()
	case <-time.After(time.Second): // the end of its descriptors comes shortly before the end of its processes
	}
	return i.kill(&Exit{Reason: Crashed, Detail: err.Error()})
}

// printed passes on what a program prints. What is printed before there is one is about packages, and kept by nobody.
func (l *launcher) printed(i *Instance, line Line) {
	i.mu.Lock()
	claimed, api, version, task := i.claimed, i.spec.API, i.spec.Version, i.spec.task
	var further Line
	var advised bool
	if claimed {
		i.output.add(line.Text)
		further, advised = i.adviseOnceLocked(line.Text)
	}
	i.mu.Unlock()
	if claimed && task != nil {
		task.Output(line)
	} else if claimed && l.onOutput != nil {
		l.onOutput(api, version, line)
	}
	if advised {
		l.printed(i, further)
	}
}

// watch turns the end of a sandbox into its Exit, and has told what it reached before its end is.
func (l *launcher) watch(i *Instance) {
	l.outlast(i)
	status := i.sandbox.Status()
	i.heardOut()
	i.mu.Lock()
	i.exit = classify(i.ending, status, i.spec.Limits)
	i.exit.Output = i.output.String()
	_ = l.stamp(i.spec, i.exit)
	if further, ok := i.advise(i.exit.Detail); ok && (i.exit.Reason == ImportError || i.exit.Reason == StartupFailed) {
		i.exit.Detail = strings.TrimSuffix(i.exit.Detail, "\n") + "\n" + further.Text
	}
	if i.exit.Reason == StartTimeout && i.exit.Output != "" {
		i.exit.Detail += "; the last that it printed:\n" + i.exit.Output
	}
	i.mu.Unlock()
	i.disconnect()
	l.tellSums(i)
	i.transport.CloseIdleConnections()
	l.reportExit(i)
	close(i.done)
}

// heardOut closes the control descriptor of a sandbox that has ended, once what its runner said is read: why it ended, perhaps.
func (i *Instance) heardOut() {
	_ = i.control.SetReadDeadline(time.Now().Add(time.Second)) // nobody is left at the other end
	i.hearing <- struct{}{}
	defer func() { <-i.hearing }()
	_ = i.control.Close()
}

// reportExit tells of an end once, when it is the program's.
func (l *launcher) reportExit(i *Instance) {
	if l.onExit != nil && i.isBegun() && i.spec.task == nil {
		i.report.Do(func() { l.onExit(*i.Exit()) })
	}
}

func (l *launcher) stamp(spec Spec, e *Exit) *Exit {
	e.API, e.Version, e.At = spec.API, spec.Version, time.Now().UTC()
	return e
}
