package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"apibuilder/deploy"
	"apibuilder/egress"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// policies are what APIs may reach by the store, and what has come to their programs.
type policies struct {
	mu     sync.Mutex
	stored map[string]string // by API; one that is not in it is gone
	err    error             // of every reading; nil: it works
	hold   chan struct{}     // that a reading waits for after it has read; nil: nothing
	read   []string          // APIs, in order
	set    []string          // APIs with their policies, in order
}

func (p *policies) change(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

func (p *policies) Read(ctx context.Context, id string) (egress.Policy, error) {
	p.mu.Lock()
	p.read = append(p.read, id)
	text, ok := p.stored[id]
	err, hold := p.err, p.hold
	p.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return egress.Policy{}, ctx.Err()
		}
	}
	switch {
	case err != nil:
		return egress.Policy{}, err
	case !ok:
		return egress.Policy{}, fmt.Errorf("read: %w", store.ErrNotFound)
	}
	return egress.Parse(text)
}

func (p *policies) Set(id string, policy egress.Policy) {
	p.change(func() { p.set = append(p.set, id+" "+policy.String()) })
}

func (p *policies) All() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.stored))
}

// expect compares what was read and set since it was called last, in whatever order.
func (p *policies) expect(t *testing.T, when string, read, set []string) {
	t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.read)
	slices.Sort(p.set)
	if !slices.Equal(p.read, read) || !slices.Equal(p.set, set) {
		t.Errorf("%s: read %q and set %q", when, p.read, p.set)
	}
	p.read, p.set = nil, nil
}

// followed runs a test with a follower in a bubble, and sees that the follower ends at once.
func followed(t *testing.T, test func(t *testing.T, f *egressFollower, p *policies)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &policies{stored: map[string]string{"api_a": "a.example:443", "api_b": "b.example:443"}}
		f := newEgressFollower(p.Read, p.Set, p.All, zap.NewNop())
		s := &server{log: zap.NewNop()}
		s.background("test", f.run)
		test(t, f, p)
		began := time.Now()
		if err := s.stop(); err != nil || time.Since(began) > 0 {
			t.Errorf("it ends after %v: %v", time.Since(began), err)
		}
	})
}

func TestEgressOfAnAPIThatChangedIsRead(t *testing.T) {
	followed(t, func(t *testing.T, f *egressFollower, p *policies) {
		p.expect(t, "before a change", nil, nil)
		f.note(store.Change{APIID: "api_a"})
		p.expect(t, "a change", []string{"api_a"}, []string{"api_a a.example:443"})
		f.note(store.Change{APIID: "api_b"})
		p.expect(t, "another's", []string{"api_b"}, []string{"api_b b.example:443"})
		f.note(store.Change{})
		p.expect(t, "a change of no API's own", []string{"api_a", "api_b"}, []string{"api_a a.example:443", "api_b b.example:443"})
		time.Sleep(time.Hour)
		p.expect(t, "afterwards", nil, nil)
	})
}

// TestEgressThatChangesWhileItIsReadIsReadAgain: what is read then may be of before, and is set before what is read later.
func TestEgressThatChangesWhileItIsReadIsReadAgain(t *testing.T) {
	followed(t, func(t *testing.T, f *egressFollower, p *policies) {
		hold := make(chan struct{})
		p.hold = hold
		f.note(store.Change{APIID: "api_a"})
		synctest.Wait()
		p.change(func() { p.stored["api_a"], p.hold = "none", nil })
		for range 3 {
			f.note(store.Change{APIID: "api_a"})
		}
		p.expect(t, "while it is read", []string{"api_a"}, nil)
		close(hold)
		synctest.Wait()
		if want := []string{"api_a a.example:443", "api_a none"}; !slices.Equal(p.set, want) {
			t.Errorf("set in the order %q", p.set)
		}
		p.expect(t, "after that", []string{"api_a"}, []string{"api_a a.example:443", "api_a none"})
	})
}

// TestEgressIsReadUntilTheStoreIsBack, as it is then.
func TestEgressIsReadUntilTheStoreIsBack(t *testing.T) {
	followed(t, func(t *testing.T, f *egressFollower, p *policies) {
		core, logged := observer.New(zapcore.WarnLevel)
		f.log = zap.New(core)
		p.err = store.ErrUnavailable
		f.note(store.Change{APIID: "api_a"})
		p.expect(t, "the first time", []string{"api_a"}, nil)
		time.Sleep(f.retry)
		p.expect(t, "the second time", []string{"api_a"}, nil)
		f.note(store.Change{APIID: "api_b"})
		p.change(func() { p.stored["api_a"], p.err = "none", nil })
		time.Sleep(f.retry)
		p.expect(t, "when it is back", []string{"api_a", "api_b"}, []string{"api_a none", "api_b b.example:443"})
		time.Sleep(time.Hour)
		p.expect(t, "afterwards", nil, nil)
		if n := logged.FilterField(zap.String("api", "api_a")).Len(); n != 2 || logged.Len() != 2 {
			t.Errorf("the operator is told %d times of the API, of %d lines", n, logged.Len())
		}
	})
}

// TestEgressThatChangedIsReadBeforeWhatMayHave: after a change of a plan or a token, thousands may have.
func TestEgressThatChangedIsReadBeforeWhatMayHave(t *testing.T) {
	followed(t, func(t *testing.T, f *egressFollower, p *policies) {
		hold := make(chan struct{})
		p.change(func() {
			p.hold = hold
			for i := range 1000 {
				p.stored[fmt.Sprintf("api_%d", i)] = "none"
			}
		})
		f.note(store.Change{})
		synctest.Wait()
		f.note(store.Change{APIID: "api_narrowed"})
		p.change(func() { p.stored["api_narrowed"] = "b.example:443" })
		close(hold)
		synctest.Wait()
		if len(p.set) != 1003 || len(p.read) != 1003 || p.read[1] != "api_narrowed" {
			t.Errorf("%d are read and %d set, the second is %s", len(p.read), len(p.set), p.read[1])
		}
	})
}

// TestEgressOfAnAPIThatIsGoneIsNotReadAgain, and holds up nobody else's.
func TestEgressOfAnAPIThatIsGoneIsNotReadAgain(t *testing.T) {
	followed(t, func(t *testing.T, f *egressFollower, p *policies) {
		f.all = func() []string { return []string{"api_gone", "api_a"} }
		f.note(store.Change{})
		p.expect(t, "a change", []string{"api_a", "api_gone"}, []string{"api_a a.example:443"})
		time.Sleep(time.Hour)
		p.expect(t, "afterwards", nil, nil)
	})
}

// TestFollowingOfEgressEnds whatever it waits for; followed looks how long that takes.
func TestFollowingOfEgressEnds(t *testing.T) {
	core, logged := observer.New(zapcore.WarnLevel)
	for name, wait := range map[string]func(f *egressFollower, p *policies){
		"a change": func(*egressFollower, *policies) {},
		"the next attempt": func(f *egressFollower, p *policies) {
			p.err = store.ErrUnavailable
			f.note(store.Change{APIID: "api_a"})
		},
		"the store": func(f *egressFollower, p *policies) {
			f.log = zap.New(core)
			p.hold = make(chan struct{})
			f.note(store.Change{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			followed(t, func(_ *testing.T, f *egressFollower, p *policies) {
				wait(f, p)
				synctest.Wait()
			})
		})
	}
	if logged.Len() != 0 {
		t.Errorf("the operator is told of %v", logged.All())
	}
}

// policyStore is a store that tells of one API, and is away at first.
type policyStore struct {
	store.Store
	store.Subscribers
	mu     sync.Mutex
	asked  int
	listen int // how many do
}

func (s *policyStore) Subscribe(fn func(store.Change)) (cancel func()) {
	s.listen++
	end := s.Subscribers.Subscribe(fn)
	return func() {
		s.listen--
		end()
	}
}

func (s *policyStore) API(_ context.Context, id string) (store.API, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked++; s.asked == 1 {
		return store.API{}, fmt.Errorf("read: %w", store.ErrUnavailable)
	}
	return store.API{ID: id, Options: store.Options{Egress: "b.example:443"}}, nil
}

// TestAChangeOfAnotherNodeReachesTheSandboxes, where they reach anything.
func TestAChangeOfAnotherNodeReachesTheSandboxes(t *testing.T) {
	internet, err := egress.Parse("internet")
	if err != nil {
		t.Fatal(err)
	}
	for name, ceiling := range map[string]*egress.Ceiling{"reachable": {Most: internet}, "nothing is reachable": {}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := &policyStore{}
				s := &server{log: zap.NewNop(), store: st, options: serveOptions{egress: egress.Config{Ceiling: ceiling}}}
				gate := s.gate()
				s.manager = sandbox.NewManager(sandbox.ManagerConfig{Egress: gate})
				s.deployer = deploy.New(st, nil, sandboxes{s.manager, nil}, deploy.Policy{})
				s.followEgress()
				var guard *egress.Guard
				if gate != nil {
					guard = gate.Guard()
					guard.Bind("api_a", internet, gate.Turn(), nil)
					defer guard.Close()
				}
				st.Publish([]store.Change{{APIID: "api_a"}})
				time.Sleep(time.Minute)
				synctest.Wait()
				if guard != nil && (guard.Knows("a.example") || !guard.Knows("b.example")) {
					t.Error("the policy of before holds")
				}
				if want := map[bool]int{true: 2}[guard != nil]; st.asked != want {
					t.Errorf("the store was asked %d times", st.asked)
				}
				if err := s.stop(); err != nil {
					t.Fatal(err)
				}
				if st.listen != 0 {
					t.Error("it listens after its end")
				}
			})
		})
	}
}
