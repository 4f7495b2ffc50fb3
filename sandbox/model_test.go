package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// step is one thing that happens to a manager. What its numbers mean depends on the kind.
type step struct {
	Kind string
	API  int
	A, B int
}

func (s step) String() string { return fmt.Sprintf("%s(api_%d, %d, %d)", s.Kind, s.API, s.A, s.B) }

func steps() *rapid.Generator[[]step] {
	kinds := rapid.SampledFrom([]string{
		"acquire", "acquire", "acquire", "acquire", "acquire", "release", "release", "release", "crash", "replace", "split", "sleep",
		"wake", "remove", "scale", "scale", "memory", "second", "second", "second", "pass", "mend", "elsewhere", "gone",
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			kinds.Draw(t, "kind"), rapid.IntRange(0, 2).Draw(t, "api"), rapid.IntRange(0, 9).Draw(t, "a"), rapid.IntRange(0, 9).Draw(t, "b"),
		}
	}), 1, 80)
}

// TestRandomOperations holds the manager against what it promises while anything happens in any order.
func TestRandomOperations(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		list := steps().Draw(rt, "steps")
		var err error
		synctest.Test(t, func(t *testing.T) { err = runSteps(list) })
		if err != nil {
			rt.Fatal(err)
		}
	})
}

// world is a manager, what it was told, and what it has lent.
type world struct {
	m      *Manager
	d      *fakeDriver
	host   *host
	wg     sync.WaitGroup
	mu     sync.Mutex
	plans  map[string]Plan
	ever   map[string]bool // every traffic that an API was ever to have
	next   int             // version of the next deploy
	broken bool
	leases []*lent
	errs   []error
}

// lent is a lease and whose it is.
type lent struct {
	*Lease
	api string
}

func runSteps(list []step) error {
	w := &world{plans: map[string]Plan{}, ever: map[string]bool{}, next: 1, host: hostOf(1 << 30)}
	w.d = &fakeDriver{program: w.program}
	cfg := ManagerConfig{
		Driver: w.d, IdleTimeout: 2 * time.Minute, MaxSandboxes: 6, WarmMemory: 300 << 20, Plan: w.plan,
		Source: func(_ context.Context, api string, version int) (Spec, error) {
			return Spec{API: api, Version: version}, nil
		},
	}
	w.host.use(&cfg)
	w.m = NewManager(cfg)
	if err := w.m.Start(context.Background()); err != nil {
		return err
	}
	for api := range 3 {
		w.do(step{Kind: "replace", API: api})
	}
	for n, s := range list {
		w.do(s)
		synctest.Wait()
		w.check(fmt.Sprintf("after step %d, %v", n, s))
		if len(w.errs) > 0 {
			break
		}
	}
	w.end()
	return errors.Join(w.errs...)
}

func (w *world) program(o order, s *fakeSandbox) {
	w.mu.Lock()
	broken := w.broken
	w.mu.Unlock()
	time.Sleep(100 * time.Millisecond)
	if broken {
		s.say(event{Event: "failed", Reason: StartupFailed})
		return
	}
	s.serve(o, func(http.ResponseWriter, *http.Request) {})
}

func (w *world) plan(_ context.Context, api string) (Plan, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.plans[api]
	if !ok {
		return Plan{}, ErrUnknownAPI
	}
	return p, nil
}

func (w *world) set(api string, change func(*Plan)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.plans[api]
	change(&p)
	w.plans[api] = p
	w.ever[trafficOf(api, p.Shares)] = true
}

// trafficOf names the versions that get requests.
func trafficOf(api string, shares []Share) string {
	var versions []int
	for _, s := range shares {
		versions = append(versions, s.Version)
	}
	slices.Sort(versions)
	return fmt.Sprint(api, versions)
}

func (w *world) failf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, fmt.Errorf(format, args...))
}

func (w *world) do(s step) {
	api := fmt.Sprintf("api_%d", s.API)
	w.mu.Lock()
	_, known := w.plans[api]
	w.mu.Unlock()
	switch s.Kind {
	case "acquire":
		w.wg.Go(func() { w.acquire(api, time.Duration(s.B)*time.Second) })
	case "release":
		w.release(s.A)
	case "crash":
		if l := w.at(s.A); l != nil {
			_ = l.sandbox.Kill()
		}
	case "replace":
		w.wg.Go(func() { w.replace(api) })
	case "split":
		if known {
			w.wg.Go(func() { w.split(api, s.A, s.B) })
		}
	case "sleep":
		w.m.Sleep(api)
	case "wake":
		w.wg.Go(func() { w.judge(w.m.Wake(context.Background(), api)) })
	case "remove":
		w.mu.Lock()
		delete(w.plans, api)
		w.mu.Unlock()
		w.judge(w.m.Remove(context.Background(), api))
	case "scale":
		if known {
			w.set(api, func(p *Plan) {
				p.Scale = Scale{Min: s.A % 3, Max: s.B % 4, Target: s.A % 2 * (1 + s.B%2), Isolated: s.B > 6}
			})
			w.m.Changed(api)
		}
	case "elsewhere": // another node deploys
		if known {
			w.set(api, func(p *Plan) { p.Shares = []Share{{w.next, 1}}; w.next++ })
			w.m.Changed([]string{api, ""}[s.A%2])
		}
	case "gone": // another node deletes
		w.mu.Lock()
		delete(w.plans, api)
		w.mu.Unlock()
		w.m.Changed(api)
	case "memory":
		w.host.total.Store(int64(s.A+2) * fakeSize)
	case "second":
		time.Sleep(time.Duration(1+s.A) * 150 * time.Millisecond)
	case "pass":
		time.Sleep(time.Duration(s.A*s.A) * time.Second)
	case "mend":
		w.mu.Lock()
		w.broken = s.A < 3
		w.mu.Unlock()
	}
}

// judge accepts the errors that a manager may give.
func (w *world) judge(err error) {
	var exit *Exit
	switch {
	case err == nil, errors.Is(err, ErrNoRoom), errors.Is(err, ErrUnknownAPI), errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrStopped):
	case errors.As(err, &exit) && (exit.Reason == StartupFailed || exit.Reason == Draining || exit.Reason == Crashed):
	default:
		w.failf("error %w", err)
	}
}

func (w *world) acquire(api string, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l, err := w.m.Acquire(ctx, api)
	w.judge(err)
	if err != nil {
		return
	}
	w.m.mu.Lock()
	serves := l.alone != nil || slices.ContainsFunc(w.m.apis[api].fleets, func(f *fleet) bool { return slices.Contains(f.instances, l.Instance) })
	w.m.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, other := range w.leases {
		if other.Instance == l.Instance && (other.alone != nil || l.alone != nil) {
			w.errs = append(w.errs, errors.New("a sandbox that is one request's own was lent twice"))
		}
	}
	if !serves && l.Instance.Exit() == nil {
		w.errs = append(w.errs, fmt.Errorf("a lease of %s version %d, which does not serve", api, l.Version()))
	}
	w.leases = append(w.leases, &lent{l, api})
}

func (w *world) at(n int) *lent {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.leases) == 0 {
		return nil
	}
	return w.leases[n%len(w.leases)]
}

func (w *world) release(n int) {
	l := w.at(n)
	if l == nil {
		return
	}
	w.mu.Lock()
	w.leases = slices.DeleteFunc(w.leases, func(other *lent) bool { return other == l })
	w.mu.Unlock()
	l.Release()
}

func (w *world) replace(api string) {
	w.mu.Lock()
	version := w.next
	w.next++
	w.mu.Unlock()
	_, err := w.m.Replace(context.Background(), Spec{API: api, Version: version}, func(context.Context) error {
		w.set(api, func(p *Plan) { p.Shares = []Share{{version, 1}} })
		w.m.Changed(api)
		return nil
	})
	w.judge(err)
}

func (w *world) split(api string, a, b int) {
	p, err := w.plan(context.Background(), api)
	if err != nil {
		return
	}
	older := max(1, p.Shares[0].Version-1)
	shares := []Share{{older, a + 1}, {older + 1, b + 1}}
	w.judge(w.m.Shift(context.Background(), api, shares, func(context.Context) error {
		w.set(api, func(p *Plan) { p.Shares = shares })
		w.m.Changed(api)
		return nil
	}))
}
