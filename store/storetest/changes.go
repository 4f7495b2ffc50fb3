package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"apibuilder/store"
)

var changeTests = map[string]func(*testing.T, store.Store){
	"told after the commit":     changeAfterCommit,
	"what is told":              changeWhat,
	"not told":                  changeNot,
	"two subscribers, one ends": changeCancel,
	"subscribed while writing":  changeConcurrent,
}

var callTests = map[string]func(*testing.T, store.Store){
	"a context that ended": callContext,
	"mixed and concurrent": callConcurrent,
}

// feed collects changes.
type feed struct {
	mu   sync.Mutex
	seen []store.Change
}

func (f *feed) add(c store.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, c)
}

// take returns what came since the last take. A driver tells before the method that changed something returns.
func (f *feed) take() []store.Change {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.seen
	f.seen = nil
	return seen
}

func changeAfterCommit(t *testing.T, s store.Store) {
	told, read := make(chan store.Change), make(chan struct{})
	defer s.Subscribe(func(c store.Change) {
		told <- c
		<-read
	})()
	a := newAPI("resize")
	created := make(chan error, 1)
	go func() {
		_, err := s.CreateAPI(t.Context(), a)
		created <- err
	}()
	select {
	case c := <-told:
		same(t, "change", c, store.Change{APIID: a.ID})
	case err := <-created:
		t.Fatalf("CreateAPI returned before anybody was told: %v", err)
	}
	_, err := s.API(t.Context(), a.ID) // it can be read as soon as it was told
	close(read)
	check(t, err)
	check(t, <-created)
}

func changeWhat(t *testing.T, s store.Store) {
	ctx := t.Context()
	a := makeAPI(t, s, "resize")
	k, tok := makeKey(t, s, a.ID), makeToken(t, s)
	v := get(s.AddVersion(ctx, store.Version{APIID: a.ID}))(t)
	v.State = store.VersionReady
	var f feed
	defer s.Subscribe(f.add)()
	for _, c := range []struct {
		what string
		api  string
		do   func() error
	}{
		{"ChangeAPI", a.ID, func() error { _, err := updateAPI(ctx, s, a); return err }},
		{"AddVersion", a.ID, func() error { _, err := s.AddVersion(ctx, store.Version{APIID: a.ID}); return err }},
		{"UpdateVersion", a.ID, func() error { return s.UpdateVersion(ctx, v) }},
		{"Activate", a.ID, func() error { return s.Activate(ctx, a.ID, 1) }},
		{"CreateKey", a.ID, func() error { _, err := s.CreateKey(ctx, store.Key{ID: "key_1", APIID: a.ID}); return err }},
		{"RevokeKey", a.ID, func() error { _, err := s.RevokeKey(ctx, k.ID); return err }},
		{"PutPlan", "", func() error { return s.PutPlan(ctx, store.Plan{Name: "gold"}) }},
		{"CreateUser", "", func() error {
			_, err := s.CreateUser(ctx, store.User{ID: "user_1", Name: "ann", Plan: "gold"})
			return err
		}},
		{"SetUserPlan", "", func() error { return s.SetUserPlan(ctx, "user_1", store.DefaultPlan) }},
		{"CreateToken", "", func() error { _, err := s.CreateToken(ctx, store.Token{ID: "tok_1", Name: "x"}); return err }},
		{"RevokeToken", "", func() error { _, err := s.RevokeToken(ctx, tok.ID); return err }},
		{"DeleteAPI", a.ID, func() error { return s.DeleteAPI(ctx, a.ID) }},
	} {
		check(t, c.do())
		same(t, "changes of "+c.what, f.take(), []store.Change{{APIID: c.api}})
	}
}

func changeNot(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	var f feed
	defer s.Subscribe(f.add)()
	check(t, s.AddUsage(t.Context(), []store.Usage{usageRecord("a", a.ID)}))
	check(t, s.AddExit(t.Context(), store.Exit{APIID: a.ID}))
	_, err := s.CreateAPI(t.Context(), newAPI("resize"))
	refused(t, err, store.ErrConflict, "")
	refused(t, s.Activate(t.Context(), a.ID, 1), store.ErrNotFound, "")
	refused(t, s.DeleteAPI(t.Context(), "api_nobody"), store.ErrNotFound, "")
	refused(t, s.SetUserPlan(t.Context(), "user_nobody", store.DefaultPlan), store.ErrNotFound, "")
	get(s.API(t.Context(), a.ID))(t)
	same(t, "changes", len(f.take()), 0)
}

func changeCancel(t *testing.T, s store.Store) {
	var first, second feed
	cancel := s.Subscribe(first.add)
	defer s.Subscribe(second.add)()
	makeAPI(t, s, "a")
	cancel()
	cancel()
	makeAPI(t, s, "b")
	same(t, "first one's changes", len(first.take()), 1)
	same(t, "second one's changes", len(second.take()), 2)
}

func changeConcurrent(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				var f feed
				cancel := s.Subscribe(f.add)
				if _, err := updateAPI(t.Context(), s, a); err != nil {
					t.Error(err)
				}
				cancel()
				if len(f.take()) == 0 {
					t.Error("a subscriber missed its own change")
				}
			}
		})
	}
	wg.Wait()
}

func callContext(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, readErr := s.API(ctx, a.ID)
	_, writeErr := s.CreateAPI(ctx, newAPI("other"))
	for what, err := range map[string]error{
		"API": readErr, "CreateAPI": writeErr, "Ping": s.Ping(ctx), "DeleteAPI": s.DeleteAPI(ctx, a.ID),
		"AddUsage": s.AddUsage(ctx, []store.Usage{usageRecord("a", a.ID)}),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error is %v, want the context's", what, err)
		}
	}
	same(t, "APIs", get(s.APIs(t.Context()))(t), []store.API{a})
	same(t, "CountUsage", get(s.CountUsage(t.Context(), "", "", day))(t), int64(0))
}

// callConcurrent lets readers see whole changes only while writers move an API back and forth.
func callConcurrent(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	for _, code := range []string{"one", "two"} {
		get(s.AddVersion(t.Context(), store.Version{APIID: a.ID, Code: code, Requirements: code}))(t)
	}
	check(t, s.Activate(t.Context(), a.ID, 1))
	var wg sync.WaitGroup
	for n := range 2 {
		wg.Go(func() {
			for range 25 {
				if err := s.Activate(t.Context(), a.ID, n+1); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 100 {
				got, err := s.API(t.Context(), a.ID)
				whole := got.CodeSnapshot == got.Requirements && got.CodeSnapshot == []string{"", "one", "two"}[got.ActiveVersion]
				if err != nil || !whole {
					t.Errorf("half a change: %+v, %v", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
