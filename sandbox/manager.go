// Package sandbox runs strangers' programs, each in a jail of its own. A Driver knows how to make one kind of jail; the
// Manager owns all of them and decides which run.
//
// The life of one instance, which is one sandbox with a program in it:
//
//	      warm (waits, no program) ------------------+
//	                   |                             | its place is needed, nobody needs it
//	                   v                             |
//	(none) ------> starting ---------------------> (none)
//	   |               |     failed or timed out,    ^   ^
//	   | waits for     |     given up                |   |
//	   | room: no_room | probe answered              |   | crashed, killed
//	   v               v                             |   |
//	(none)         serving <-----> busy -------------|---+
//	                   |   Acquire,  |               |
//	                   |   Release   | Replace,      |
//	                   |             | Shift, Sleep, | last request answered or
//	 idle, room needed,|             | Remove, fewer | deadline, then SIGTERM
//	 fewer are wanted  +-> draining <+ are wanted ---+
//
// An API has one fleet of instances for each version that gets requests. Usually that is one version; Shift splits requests by
// weight among several. A fleet grows while it has more requests in flight than its scale's target, and shrinks after a quiet
// time. Each request goes to the least loaded instance of its version.
//
// A warm sandbox is the first half of a start, made before anybody asked for it. A version that does not reach serving never
// takes traffic. One sandbox serves exactly one API, once. An instance with requests in flight is ended by nobody who only
// wants its place. Of an isolated API each instance goes from serving to busy once, and from busy to draining.
package sandbox

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"apibuilder/egress"
)

// ManagerConfig is what a Manager needs. Driver, and Source and Plan where Acquire is called, are required; a zero duration or
// count means the default.
type ManagerConfig struct {
	Driver Driver
	// Source says what to run for a version of an API. Plan says which versions of an API get its requests; it wraps
	// ErrUnknownAPI when there is no such API. Both are asked when an API is started, and Plan when Changed tells.
	Source        func(ctx context.Context, api string, version int) (Spec, error)
	Plan          func(ctx context.Context, api string) (Plan, error)
	Defaults      Limits                                   // zero fields: DefaultLimits
	StartTimeout  time.Duration                            // to the first answered probe; default 30 s
	DrainTimeout  time.Duration                            // for requests in flight when an instance is taken out; default 30 s
	MaxSandboxes  int                                      // default 500
	RoomTimeout   time.Duration                            // that a start waits for room; default 5 s
	IdleTimeout   time.Duration                            // an instance that nobody calls is ended after this; 0: never
	QuietTime     time.Duration                            // that fewer instances must have been enough before one is ended; default 30 s
	WarmMemory    int64                                    // bytes that warm sandboxes may take; 0: none are kept
	Memory        func() (available int64, err error)      // bytes that the host could still give; nil: nobody looks
	MemoryReserve int64                                    // bytes of them that sandboxes leave alone
	Egress        *egress.Gate                             // what is outside; nil: every sandbox has loopback alone
	Transport     func(Dialer) Transport                   // how requests go to a program; default a plain http.Transport
	OnOutput      func(api string, version int, line Line) // must not block for long
	OnExit        func(Exit)                               // called once for every sandbox that ended or could not be made
	OnEvent       func(Event)                              // must not block for long; nil: nobody is told
	Log           *zap.Logger
}

// Manager owns every sandbox of one server. Its methods may be called concurrently.
type Manager struct {
	cfg      ManagerConfig
	launcher launcher
	life     context.Context // ends when Stop begins
	endLife  context.CancelFunc
	patience context.Context // ends when Stop waits no longer
	hurry    context.CancelFunc
	work     sync.WaitGroup
	reads    chan struct{} // holds one for each plan that is being read
	pick     func(n int) int
	stopOnce sync.Once
	stopErr  error

	mu      sync.Mutex
	apis    map[string]*slot
	tasks   map[*running]struct{}
	live    int // instances that exist or are being made, draining ones too
	room    room
	stopped bool
	leaving bool // another process serves: what is idle ends

	queued atomic.Int64 // starts that wait for room
}

// NewManager does no I/O; Start does.
func NewManager(cfg ManagerConfig) *Manager {
	cfg.fill()
	m := &Manager{cfg: cfg, apis: map[string]*slot{}, tasks: map[*running]struct{}{}, reads: make(chan struct{}, mostReads), pick: rand.IntN}
	m.life, m.endLife = context.WithCancel(context.Background())
	m.patience, m.hurry = context.WithCancel(context.Background())
	m.launcher = launcher{
		driver: cfg.Driver, defaults: cfg.Defaults, startTimeout: cfg.StartTimeout,
		newTransport: cfg.Transport, turns: newTurns(), onOutput: cfg.OnOutput, onExit: m.exited, gate: cfg.Egress,
	}
	if cfg.WarmMemory > 0 {
		m.launcher.pool = newPool(&m.launcher, cfg.WarmMemory, m.spacious, cfg.Log)
	}
	return m
}

func (cfg *ManagerConfig) fill() {
	cfg.Defaults = cfg.Defaults.Or(DefaultLimits)
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&cfg.StartTimeout, 30 * time.Second},
		{&cfg.DrainTimeout, 30 * time.Second},
		{&cfg.RoomTimeout, 5 * time.Second},
		{&cfg.QuietTime, 30 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	if cfg.MaxSandboxes == 0 {
		cfg.MaxSandboxes = 500
	}
	if cfg.Transport == nil {
		cfg.Transport = newTransport
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
}

// Start checks the host by the driver and ends what a dead server left. Its error says what is missing and the remedy.
func (m *Manager) Start(ctx context.Context) error {
	if err := m.cfg.Driver.Start(ctx); err != nil {
		return err
	}
	if m.launcher.pool != nil {
		m.work.Go(func() { m.launcher.pool.run(m.life) })
	}
	m.work.Go(func() { m.tend(m.life) })
	return nil
}

// Stop drains every sandbox and ends it, killing what is left when ctx ends, and stops the driver. It may be called again.
func (m *Manager) Stop(ctx context.Context) error {
	m.stopOnce.Do(func() {
		m.mu.Lock()
		m.stopped = true
		m.endLife()
		defer context.AfterFunc(ctx, m.hurry)()
		for _, s := range m.apis {
			for _, f := range s.fleets {
				m.retireLocked(f)
			}
		}
		m.mu.Unlock()
		m.work.Wait()
		m.hurry()
		m.stopErr = m.cfg.Driver.Stop(ctx)
	})
	return m.stopErr
}

// Launch starts a sandbox that serves nobody but its caller, who must Stop it.
func (m *Manager) Launch(ctx context.Context, spec Spec) (*Instance, error) {
	return m.launcher.launch(ctx, spec, func() {})
}

// Remove ends what runs of an API after its deletion, tasks too, and returns when it is gone. A program that has nothing to do runs
// its shutdown code; requests in flight are broken off.
func (m *Manager) Remove(_ context.Context, api string) error {
	m.mu.Lock()
	s := m.apis[api]
	delete(m.apis, api)
	m.launcher.learned.forget(api)
	m.forgetEgress(api)
	tasks := m.endTasksLocked(api)
	var ending []*Instance
	if s != nil {
		for _, f := range s.fleets {
			m.retireLocked(f)
		}
		for s.making > 0 { // those are given up, and may print until they are
			s.made.Wait()
		}
		for i := range s.leaving {
			i.endWith(&Exit{Reason: Draining, Detail: "the API was deleted"})
			ending = append(ending, i)
		}
	}
	m.mu.Unlock()
	for _, i := range ending {
		if i.inflight.Load() > 0 {
			_ = i.sandbox.Kill() // retried by the driver until the group is empty
		}
	}
	for _, i := range ending {
		<-i.done // those that are idle have their grace already, see drainForLocked
	}
	for _, r := range tasks {
		<-r.done
	}
	return nil
}

func (m *Manager) exited(e Exit) {
	level, fields := zap.InfoLevel, []zap.Field{
		zap.String("api", e.API), zap.Int("version", e.Version),
		zap.String("reason", string(e.Reason)), zap.String("signal", e.Signal), zap.Int("code", e.Code),
	}
	if e.Reason == SandboxFailed { // the operator's to mend, and in words of ours and the host's
		level, fields = zap.ErrorLevel, append(fields, zap.String("detail", e.Detail))
	}
	m.cfg.Log.Log(level, "sandbox ended", fields...)
	if m.cfg.OnExit != nil {
		m.cfg.OnExit(e)
	}
}
