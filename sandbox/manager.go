// Package sandbox runs strangers' programs, each in a jail of its own. A Driver knows how to make one kind of jail; the
// Manager owns all of them and decides which run.
//
// The life of one API's sandbox:
//
//	        warm (waits, no program)
//	               | Acquire, Replace
//	               v
//	           Acquire, Replace              probe answered
//	(none) ---------------------> starting -----------------> serving <---+
//	   ^                             |                           |        | Acquire, Release
//	   |      failed or timed out    |     crashed, killed       +--------+
//	   +-----------------------------+---------------------------+
//	   |                                                         | Replace, Remove, Stop, Sleep, idle, room needed
//	   |     last request answered or deadline, then SIGTERM     v
//	   +----------------------------------------------------- draining
//
// A warm sandbox is the first half of a start, made before anybody asked for it.
// A version that does not reach serving never takes traffic. One sandbox serves exactly one API, once.
package sandbox

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Source says what to run for an API: after the server's start, and after a crash.
type Source func(ctx context.Context, api string) (Spec, error)

// ManagerConfig is what a Manager needs. Driver and Source are required; a zero duration or count means the default.
type ManagerConfig struct {
	Driver       Driver
	Source       Source
	Defaults     Limits                                   // zero fields: DefaultLimits
	StartTimeout time.Duration                            // to the first answered probe; default 30 s
	DrainTimeout time.Duration                            // for requests in flight when a sandbox is replaced; default 30 s
	MaxSandboxes int                                      // default 500
	IdleTimeout  time.Duration                            // a program that nobody calls is ended after this; 0: never
	WarmMemory   int64                                    // bytes that warm sandboxes may take; 0: none are kept
	Transport    func(Dialer) Transport                   // how requests go to a program; default a plain http.Transport
	OnOutput     func(api string, version int, line Line) // must not block for long
	OnExit       func(Exit)                               // called once for every sandbox that ended
	Log          *zap.Logger
}

// Manager owns every sandbox of one server. Its methods may be called concurrently.
type Manager struct {
	cfg      ManagerConfig
	launcher launcher
	life     context.Context // ends when Stop begins
	endLife  context.CancelFunc
	draining sync.WaitGroup
	stopOnce sync.Once
	stopErr  error

	mu      sync.Mutex
	apis    map[string]*slot
	live    int // instances that exist or are being made, draining ones too
	stopped bool
}

// slot is what the manager knows of one API.
type slot struct {
	current  *Instance
	starting *start
	backoff  backoff
	replace  sync.Mutex // held by Replace: one at a time
}

// start is one launch that requests wait for.
type start struct {
	done chan struct{}
	err  error // valid once done is closed
}

// NewManager does no I/O; Start does.
func NewManager(cfg ManagerConfig) *Manager {
	cfg.Defaults = cfg.Defaults.Or(DefaultLimits)
	if cfg.StartTimeout == 0 {
		cfg.StartTimeout = 30 * time.Second
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 30 * time.Second
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
	m := &Manager{cfg: cfg, apis: map[string]*slot{}}
	m.life, m.endLife = context.WithCancel(context.Background())
	m.launcher = launcher{
		driver: cfg.Driver, defaults: cfg.Defaults, startTimeout: cfg.StartTimeout, drainTimeout: cfg.DrainTimeout,
		newTransport: cfg.Transport, onOutput: cfg.OnOutput, onExit: m.exited,
	}
	if cfg.WarmMemory > 0 {
		m.launcher.pool = newPool(&m.launcher, cfg.WarmMemory, cfg.Log)
	}
	return m
}

// Start checks the host by the driver and ends what a dead server left. Its error says what is missing and the remedy.
func (m *Manager) Start(ctx context.Context) error {
	if err := m.cfg.Driver.Start(ctx); err != nil {
		return err
	}
	if m.launcher.pool != nil {
		m.draining.Go(func() { m.launcher.pool.run(m.life) })
	}
	if m.cfg.IdleTimeout > 0 {
		m.draining.Go(func() { m.sleepIdle(m.life) })
	}
	return nil
}

// Stop drains every sandbox and ends it, killing what is left when ctx ends, and stops the driver. It may be called again.
func (m *Manager) Stop(ctx context.Context) error {
	m.stopOnce.Do(func() {
		m.mu.Lock()
		m.stopped = true
		m.endLife()
		for _, s := range m.apis {
			m.retireLocked(ctx, s)
		}
		m.mu.Unlock()
		m.draining.Wait()
		m.stopErr = m.cfg.Driver.Stop(ctx)
	})
	return m.stopErr
}

// Acquire returns a lease on a running sandbox of the API, starting one where none runs. It waits no longer than ctx.
// Errors: *Exit when the program does not start (at once while it is held off after repeated failures), ErrNoRoom,
// ErrStopped, what Source returned, or the context's.
func (m *Manager) Acquire(ctx context.Context, api string) (*Lease, error) {
	began := time.Now()
	for {
		lease, wait, err := m.tryAcquire(api)
		if lease != nil {
			if wait := time.Since(began); wait > time.Millisecond {
				lease.startWait = wait
			}
			return lease, nil
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-wait.done:
			if wait.err != nil {
				return nil, wait.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryAcquire returns a lease, or the start to wait for, or an error.
func (m *Manager) tryAcquire(api string) (*Lease, *start, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil, nil, ErrStopped
	}
	s := m.slotLocked(api)
	if s.current != nil {
		return s.current.lease(m), nil, nil
	}
	if s.starting == nil {
		if err := s.backoff.check(time.Now()); err != nil {
			return nil, nil, err
		}
		if err := m.reserveLocked(); err != nil {
			return nil, nil, err
		}
		s.starting = &start{done: make(chan struct{})}
		m.draining.Add(1)
		go m.run(api, s, s.starting)
	}
	return nil, s.starting, nil
}

func (m *Manager) slotLocked(api string) *slot {
	s := m.apis[api]
	if s == nil {
		s = &slot{}
		m.apis[api] = s
	}
	return s
}

// run makes one start and tells those who wait for it.
func (m *Manager) run(api string, s *slot, st *start) {
	defer m.draining.Done()
	spec, err := m.cfg.Source(m.life, api)
	var i *Instance
	if err == nil {
		i, err = m.launcher.launch(m.life, spec)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.starting = nil
	st.err = err
	switch {
	case err != nil:
		m.live--
		m.tellLocked(s.backoff.failed(time.Now(), err))
	case m.apis[api] != s || s.current != nil || m.stopped: // removed, replaced or stopped meanwhile
		m.drainLocked(m.life, i)
	default:
		s.current = i
		m.watchLocked(s, i)
	}
	close(st.done)
}

// watchLocked clears the slot when its instance ends by itself.
func (m *Manager) watchLocked(s *slot, i *Instance) {
	m.keepHealthyLocked(i)
	go func() {
		<-i.done
		m.mu.Lock()
		defer m.mu.Unlock()
		if s.current != i { // it was taken out and is counted by whoever drains it
			return
		}
		s.current = nil
		m.live--
		m.tellLocked(s.backoff.died(time.Now(), i.started, i.exit))
	}()
}

// reserveLocked takes a place for one more instance, at the cost of the longest idle one when all are taken.
func (m *Manager) reserveLocked() error {
	if m.live >= m.cfg.MaxSandboxes {
		var idle *slot
		for _, s := range m.apis {
			if s.current != nil && s.current.inflight.Load() == 0 &&
				(idle == nil || s.current.lastUsed.Load() < idle.current.lastUsed.Load()) {
				idle = s
			}
		}
		if idle == nil {
			return ErrNoRoom
		}
		m.retireLocked(m.life, idle)
	}
	m.live++
	return nil
}

// Replace starts a new version beside the one that serves. When it has answered its probe, commit is called; when that
// succeeds too, new requests go to the new version and the old one drains. On any error the old one keeps serving:
// *Exit when the program does not start, ErrNoRoom, ErrStopped, what commit returned, or the context's.
func (m *Manager) Replace(ctx context.Context, spec Spec, commit func(context.Context) error) (*Instance, error) {
	m.mu.Lock()
	s := m.slotLocked(spec.API)
	m.mu.Unlock()
	s.replace.Lock()
	defer s.replace.Unlock()

	m.mu.Lock()
	err := ErrStopped
	if !m.stopped {
		err = m.reserveLocked()
	}
	if err == nil {
		m.draining.Add(1)
		defer m.draining.Done()
	}
	m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.life, cancel)()

	i, err := m.launcher.launch(ctx, spec)
	if err != nil {
		m.free()
		return nil, err
	}
	if err := commit(ctx); err != nil {
		i.kill(&Exit{Reason: Draining, Detail: "the deploy was given up"})
		m.free()
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped || m.apis[spec.API] != s {
		m.drainLocked(ctx, i)
		return nil, ErrStopped
	}
	m.retireLocked(m.life, s)
	s.current, s.backoff = i, backoff{}
	m.watchLocked(s, i)
	return i, nil
}

func (m *Manager) free() {
	m.mu.Lock()
	m.live--
	m.mu.Unlock()
}

// Remove ends the API's sandbox after a deletion and returns when it is gone. Requests in flight are broken off.
func (m *Manager) Remove(_ context.Context, api string) error {
	m.mu.Lock()
	s := m.apis[api]
	delete(m.apis, api)
	m.launcher.learned.forget(api)
	var i *Instance
	if s != nil {
		i, s.current = s.current, nil
	}
	m.mu.Unlock()
	if i != nil {
		i.kill(&Exit{Reason: Draining, Detail: "the API was deleted"})
		m.free()
	}
	return nil
}

// Launch starts a sandbox that serves nobody but its caller, who must Stop it.
func (m *Manager) Launch(ctx context.Context, spec Spec) (*Instance, error) {
	return m.launcher.launch(ctx, spec)
}

// retireLocked takes the slot's instance out of service and drains it in the background.
func (m *Manager) retireLocked(ctx context.Context, s *slot) {
	if s.current != nil {
		m.drainLocked(ctx, s.current)
		s.current = nil
	}
}

// drainLocked ends an instance that gets no new requests: when its last one is answered, at the drain timeout, or when
// ctx ends.
func (m *Manager) drainLocked(ctx context.Context, i *Instance) {
	m.draining.Add(1)
	go func() {
		defer m.draining.Done()
		defer m.free()
		timer := time.NewTimer(m.cfg.DrainTimeout)
		defer timer.Stop()
		for i.inflight.Load() > 0 {
			select {
			case <-i.idleC:
				continue
			case <-i.done:
			case <-timer.C:
			case <-ctx.Done():
			}
			break
		}
		i.Stop(context.WithoutCancel(ctx), 5*time.Second)
	}()
}

func (m *Manager) exited(e Exit) {
	level := zap.InfoLevel
	if e.Reason == SandboxFailed {
		level = zap.ErrorLevel
	}
	m.cfg.Log.Log(level, "sandbox ended", zap.String("api", e.API), zap.Int("version", e.Version),
		zap.String("reason", string(e.Reason)), zap.String("signal", e.Signal), zap.Int("code", e.Code))
	if m.cfg.OnExit != nil {
		m.cfg.OnExit(e)
	}
}
