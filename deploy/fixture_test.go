package deploy_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"apibuilder/deploy"
	pythonenv "apibuilder/python-env"
	"apibuilder/sandbox"
	"apibuilder/store"
	"apibuilder/store/sqlite"
)

// builder is a fake: real environments are the subject of pythonenv's own tests.
type builder struct {
	mu    sync.Mutex
	err   error
	known map[string]bool
	paths map[string]string // of interpreters, by environment
	last  pythonenv.Request
	calls int
	enter func() // called by Ensure, to hold it or to look around
}

func (b *builder) Ensure(ctx context.Context, r pythonenv.Request) (pythonenv.Environment, error) {
	if b.enter != nil {
		b.enter()
	}
	if ctx.Err() != nil {
		return pythonenv.Environment{}, ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	b.last = r
	if b.err != nil {
		return pythonenv.Environment{}, b.err
	}
	key := "env-" + r.Requirements
	b.known[key] = true
	e := environment(key)
	if e.Lock = r.Lock; e.Lock == "" {
		e.Lock = fmt.Sprintf("# python 3.11.2 linux\nsix==1.%d --hash=%s\n", b.calls, r.Requirements)
	}
	return e, nil
}

func (b *builder) Lock(_ context.Context, r pythonenv.Request) (string, error) {
	b.last = r
	return "lock of " + r.Requirements, b.err
}

func (b *builder) Lookup(key string) (pythonenv.Environment, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := environment(key)
	e.Interpreter.Path = cmp.Or(b.paths[key], e.Interpreter.Path)
	return e, b.known[key]
}

func environment(key string) pythonenv.Environment {
	return pythonenv.Environment{Key: key, Path: "/envs/" + key, Interpreter: pythonenv.Interpreter{Path: "/usr/bin/python3"}}
}

// sandboxes is a fake manager that remembers what serves.
type sandboxes struct {
	mu      sync.Mutex
	err     error
	late    error // returned after a commit that worked
	serving map[string]sandbox.Spec
	shares  []sandbox.Share // of the last shift
	removed []string
}

func (s *sandboxes) Replace(
	ctx context.Context, spec sandbox.Spec, commit func(context.Context) error,
) (*sandbox.Instance, error) {
	if err := s.failure(); err != nil {
		return nil, err
	}
	if err := commit(ctx); err != nil {
		return nil, err
	}
	if s.late != nil {
		return nil, s.late
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving[spec.API] = spec
	return &sandbox.Instance{}, nil
}

func (s *sandboxes) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail has programs not start from now on, for that reason.
func (s *sandboxes) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *sandboxes) Shift(
	ctx context.Context, api string, shares []sandbox.Share, commit func(context.Context) error,
) error {
	if err := s.failure(); err != nil {
		return err
	}
	if err := commit(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares = shares
	return nil
}

func (s *sandboxes) EgressTurn() uint64 { return 0 }

func (s *sandboxes) Remove(_ context.Context, api string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed = append(s.removed, api)
	delete(s.serving, api)
	return nil
}

// brokenStore fails where it is told to.
type brokenStore struct {
	store.Store
	activate, createKey, ready error
	create                     func(context.Context, store.API) (store.API, error) // in place of CreateAPI
}

func (b *brokenStore) CreateAPI(ctx context.Context, a store.API) (store.API, error) {
	if b.create != nil {
		return b.create(ctx, a)
	}
	return b.Store.CreateAPI(ctx, a)
}

func (b *brokenStore) UpdateVersion(ctx context.Context, v store.Version) error {
	if b.ready != nil && v.State == store.VersionReady {
		return b.ready
	}
	return b.Store.UpdateVersion(ctx, v)
}

func (b *brokenStore) Activate(ctx context.Context, api string, number int) error {
	if b.activate != nil {
		return b.activate
	}
	return b.Store.Activate(ctx, api, number)
}

func (b *brokenStore) CreateKey(ctx context.Context, k store.Key) (store.Key, error) {
	if b.createKey != nil {
		return k, b.createKey
	}
	return b.Store.CreateKey(ctx, k)
}

type fixture struct {
	*deploy.Deployer
	store     *brokenStore
	builder   *builder
	sandboxes *sandboxes
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	f := &fixture{
		store:     &brokenStore{Store: st},
		builder:   &builder{known: map[string]bool{}},
		sandboxes: &sandboxes{serving: map[string]sandbox.Spec{}},
	}
	f.Deployer = deploy.New(f.store, f.builder, f.sandboxes, deploy.Policy{Defaults: store.Limits{MemoryBytes: 100 << 20}})
	return f
}

func request(name, code string) deploy.Request { return deploy.Request{Name: name, Code: code} }

func (f *fixture) mustDeploy(t *testing.T, r deploy.Request) deploy.Result {
	t.Helper()
	result, err := f.Deploy(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func reasonOf(err error) string {
	if e, ok := errors.AsType[*deploy.Error](err); ok {
		return e.Reason
	}
	return fmt.Sprintf("no deploy.Error: %v", err)
}
