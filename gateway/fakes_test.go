package gateway

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"apibuilder/sandbox"
	"apibuilder/store"
)

// fakeStore holds a few rows and counts the reads. Its real counterparts have a conformance suite of their own.
type fakeStore struct {
	mu     sync.Mutex
	apis   map[string]store.API
	keys   map[[32]byte]store.Key
	users  map[string]store.User
	plans  map[string]store.Plan
	subs   map[int]func(store.Change)
	reads  int
	err    error
	before func(what string) // called before a read, without the lock
}

func newFakeStore() *fakeStore {
	s := &fakeStore{
		apis: map[string]store.API{}, keys: map[[32]byte]store.Key{}, users: map[string]store.User{},
		plans: map[string]store.Plan{}, subs: map[int]func(store.Change){},
	}
	s.users["operator"] = store.User{ID: "operator", Plan: "default"}
	s.plans["default"] = store.Plan{Name: "default"}
	s.apis["api_private"] = store.API{ID: "api_private", Name: "private", UserID: "operator", ActiveVersion: 3}
	s.apis["api_public"] = store.API{ID: "api_public", Name: "public", UserID: "operator", Public: true, ActiveVersion: 1}
	s.apis["api_docs"] = store.API{ID: "api_docs", Name: "docs", UserID: "operator", PublicDocs: true, ActiveVersion: 1}
	s.apis["api_new"] = store.API{ID: "api_new", Name: "new", UserID: "operator", Public: true}
	s.addKey("key_1", "api_private", testKey)
	s.addKey("key_2", "api_docs", otherKey)
	s.addKey("key_3", "api_private", revokedK)
	s.revoke(revokedK)
	return s
}

func (s *fakeStore) addKey(id, api, secret string) {
	hash := sha256.Sum256([]byte(secret))
	s.keys[hash] = store.Key{ID: id, APIID: api, Hash: hash}
}

func (s *fakeStore) revoke(secret string) {
	s.change(func() store.Change {
		k := s.keys[store.HashSecret(secret)]
		k.RevokedAt = time.Now()
		s.keys[k.Hash] = k
		return store.Change{APIID: k.APIID}
	})
}

// change commits and then tells the subscribers.
func (s *fakeStore) change(fn func() store.Change) {
	s.mu.Lock()
	c := fn()
	var subs []func(store.Change)
	for _, sub := range s.subs {
		subs = append(subs, sub)
	}
	s.mu.Unlock()
	for _, sub := range subs {
		sub(c)
	}
}

func (s *fakeStore) updateAPI(id string, fn func(*store.API)) {
	s.change(func() store.Change {
		a := s.apis[id]
		fn(&a)
		s.apis[id] = a
		return store.Change{APIID: id}
	})
}

func (s *fakeStore) read(ctx context.Context, what string) error {
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before != nil {
		before(what)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	return cmp.Or(s.err, ctx.Err())
}

func (s *fakeStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

func (s *fakeStore) API(ctx context.Context, ref string) (store.API, error) {
	var found *store.API
	s.mu.Lock()
	for _, a := range s.apis { // before the hook, which may commit a change
		if a.ID == ref || a.Name == ref {
			found = &a
		}
	}
	s.mu.Unlock()
	switch err := s.read(ctx, "api "+ref); {
	case err != nil:
		return store.API{}, err
	case found == nil:
		return store.API{}, fmt.Errorf("api %q: %w", ref, store.ErrNotFound)
	}
	return *found, nil
}

func (s *fakeStore) KeyByHash(ctx context.Context, hash [32]byte) (store.Key, error) {
	s.mu.Lock()
	k, ok := s.keys[hash] // before the hook, which may commit a change
	s.mu.Unlock()
	if err := s.read(ctx, "key"); err != nil {
		return store.Key{}, err
	}
	if !ok {
		return store.Key{}, store.ErrNotFound
	}
	return k, nil
}

func (s *fakeStore) User(_ context.Context, id string) (store.User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.users[id]; ok {
		return u, s.err
	}
	return store.User{}, store.ErrNotFound
}

func (s *fakeStore) Plan(_ context.Context, name string) (store.Plan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.plans[name]; ok {
		return p, s.err
	}
	return store.Plan{}, store.ErrNotFound
}

func (s *fakeStore) Hosts(ctx context.Context) (map[string]string, error) {
	if err := s.read(ctx, "hosts"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	hosts := map[string]string{}
	for _, a := range s.apis {
		if a.Options.Host != "" {
			hosts[a.Options.Host] = a.ID
		}
	}
	return hosts, nil
}

func (s *fakeStore) Subscribe(fn func(store.Change)) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := len(s.subs)
	s.subs[id] = fn
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subs, id)
	}
}

// fakeJournal keeps records in memory.
type fakeJournal struct {
	mu      sync.Mutex
	records []store.Usage
	added   chan store.Usage
	hook    func(store.Usage)
	err     error
}

func (j *fakeJournal) Record(u store.Usage) error {
	j.mu.Lock()
	hook, err := j.hook, j.err
	j.records = append(j.records, u)
	j.mu.Unlock()
	if hook != nil {
		hook(u)
	}
	j.added <- u
	return err
}

func (j *fakeJournal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.records)
}

// fakeSandboxes lends one program on a Unix socket, as a sandbox manager would.
type fakeSandboxes struct {
	transport *Transport
	version   int
	startWait time.Duration
	startup   sandbox.Startup
	cpu       atomic.Int64 // each question is 3 ms later

	waiting chan struct{} // one for each Acquire that waits

	mu      sync.Mutex
	err     error         // of Acquire
	block   bool          // Acquire waits for its context
	exit    *sandbox.Exit // of a lease; nil: it lives
	asked   int
	suspect int
	held    int
}

func (s *fakeSandboxes) Acquire(ctx context.Context, _ string) (Lease, error) {
	s.mu.Lock()
	block, err := s.block, s.err
	s.mu.Unlock()
	if block {
		s.waiting <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held++
	return &fakeLease{s}, nil
}

type fakeLease struct{ s *fakeSandboxes }

func (l *fakeLease) RoundTrip(r *http.Request) (*http.Response, error) {
	return l.s.transport.RoundTrip(r)
}

func (l *fakeLease) Version() int { return l.s.version }

func (l *fakeLease) StartWait() time.Duration { return l.s.startWait }
func (l *fakeLease) Startup() sandbox.Startup { return l.s.startup }

func (l *fakeLease) Exit(ctx context.Context) *sandbox.Exit {
	l.s.mu.Lock()
	l.s.asked++
	exit := l.s.exit
	l.s.mu.Unlock()
	if exit == nil {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return nil
	}
	return exit
}

func (l *fakeLease) CPUShare() time.Duration {
	return time.Duration(l.s.cpu.Add(int64(3 * time.Millisecond)))
}

func (l *fakeLease) Suspect() {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.s.suspect++
}

func (l *fakeLease) Release() {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.s.held--
}
