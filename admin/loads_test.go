package admin_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"apibuilder/admin"
	"apibuilder/deploy"
	"apibuilder/logs"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// announce sends a request with a token that says how many bytes its body has.
func announce(h http.Handler, secret, method, path, body string, size int64) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.ContentLength = size
	r.Header.Set("Authorization", "Bearer "+secret)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// crowd sends requests that stay until they are let go.
type crowd struct {
	group sync.WaitGroup
	end   chan struct{}
}

func (c *crowd) send(n int, ask func(i int)) {
	for i := range n {
		c.group.Go(func() { ask(i) })
	}
	synctest.Wait()
}

func (c *crowd) leave() {
	close(c.end)
	c.group.Wait()
}

// newCrowd has deploys and one-off code stay.
func newCrowd(f *fixture) *crowd {
	c := &crowd{end: make(chan struct{})}
	f.deployer.do = func(_ context.Context, r deploy.Request) (deploy.Result, error) {
		<-c.end
		return deploy.Result{API: store.API{ID: "api_1", Name: r.Name}}, nil
	}
	f.run = func(context.Context, string, int, sandbox.Task) (*sandbox.Exit, error) {
		<-c.end
		return &sandbox.Exit{Reason: sandbox.Finished}, nil
	}
	return c
}

const newDeploy = `{"name":"new","code":"x"}`

// TestOneTokenLeavesRoomForOthers has an author send more requests than are worked on at a time, more bytes, and more archives.
func TestOneTokenLeavesRoomForOthers(t *testing.T) {
	f := newTwo(t)
	anna, bert := f.secretOf(t, `{"role":"author","user":"anna"}`), f.secretOf(t, `{"role":"author","user":"bert"}`)
	remote := f.Remote()
	archive := `{"name":"new","archive":"UEs="}`
	for name, c := range map[string]struct {
		body string
		size int64
		fit  int
	}{
		"requests": {newDeploy, int64(len(newDeploy)), 64},
		"bytes":    {newDeploy, 48 << 20, 2},
		"archives": {archive, int64(len(archive)), 2},
		"unknown":  {newDeploy, -1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the store's own clock is not asked
				all := newCrowd(f.fixture)
				all.send(c.fit, func(int) { announce(remote, anna, "POST", "/api/v1/deploys", c.body, c.size) })
				began := time.Now()
				w := announce(remote, anna, "POST", "/api/v1/deploys", c.body, c.size)
				wantProblem(t, w, http.StatusTooManyRequests, "too_many")
				if w.Header().Get("Retry-After") == "" || time.Since(began) > 2*time.Minute {
					t.Errorf("Retry-After %q after %v", w.Header().Get("Retry-After"), time.Since(began))
				}
				if name != "requests" {
					if w := announce(remote, anna, "PATCH", "/api/v1/apis/of-anna", `{"public":true}`, 15); w.Code != http.StatusOK {
						t.Errorf("a small request is answered with %d %s", w.Code, w.Body)
					}
				}
				others := 0
				var mu sync.Mutex
				all.send(1, func(int) {
					w := announce(remote, bert, "POST", "/api/v1/deploys", c.body, c.size)
					mu.Lock()
					defer mu.Unlock()
					if others = w.Code; others != http.StatusOK {
						t.Errorf("another author is answered with %d %s", w.Code, w.Body)
					}
				})
				all.leave()
				f.deployer.do = failing("stop")
				if w := announce(remote, anna, "POST", "/api/v1/deploys", c.body, c.size); w.Code != http.StatusOK {
					t.Errorf("when they have ended, the next one is answered with %d %s", w.Code, w.Body)
				}
			})
		})
	}
}

// TestLargeRequestsAreBoundedInAll has many authors send bytes.
func TestLargeRequestsAreBoundedInAll(t *testing.T) {
	f := newTwo(t)
	var secrets []string
	for range 4 {
		secrets = append(secrets, f.secretOf(t, `{"role":"author","user":"anna"}`))
	}
	synctest.Test(t, func(t *testing.T) {
		all := newCrowd(f.fixture)
		all.send(5, func(i int) { announce(f.Remote(), secrets[i/2], "POST", "/api/v1/deploys", newDeploy, 48<<20) })
		w := announce(f.Remote(), secrets[3], "POST", "/api/v1/deploys", newDeploy, 48<<20)
		wantProblem(t, w, http.StatusServiceUnavailable, "no_room")
		if w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		all.send(1, func(int) { // root's goes on
			r := httptest.NewRequest("POST", "/api/v1/deploys", strings.NewReader(newDeploy))
			r.ContentLength = 48 << 20
			f.Local().ServeHTTP(httptest.NewRecorder(), r)
		})
		all.leave()
	})
}

// TestOneOffCodeOfAUserIsBounded: it takes places for sandboxes that programs need too.
func TestOneOffCodeOfAUserIsBounded(t *testing.T) {
	f := newTwo(t)
	for _, name := range []string{"of-anna", "of-bert"} {
		api, _ := f.store.API(t.Context(), name)
		v, err := f.store.AddVersion(t.Context(), store.Version{APIID: api.ID, Code: "x", State: store.VersionReady})
		if err == nil {
			err = f.store.Activate(t.Context(), api.ID, v.Number)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	secret := f.secretOf(t, `{"role":"author","user":"anna"}`)
	synctest.Test(t, func(t *testing.T) {
		all := newCrowd(f.fixture)
		keyed := func() *httptest.ResponseRecorder {
			return call(t, f.Remote(), "POST", "/api/v1/apis/of-anna/exec", `{"code":"1"}`, "Authorization", "Bearer "+secret, "Idempotency-Key", anyKey)
		}
		exec := func(ask func(string, string, string) *httptest.ResponseRecorder, api string) *httptest.ResponseRecorder {
			return ask("POST", "/api/v1/apis/"+api+"/exec", `{"code":"1"}`)
		}
		all.send(8, func(int) { exec(f.anna, "of-anna") })
		wantProblem(t, exec(f.anna, "of-anna"), http.StatusTooManyRequests, "too_many")
		wantProblem(t, keyed(), http.StatusTooManyRequests, "too_many")
		for api, ask := range map[string]func(string, string, string) *httptest.ResponseRecorder{
			"of-bert": f.bert, "of-anna": func(m, p, b string) *httptest.ResponseRecorder { return f.local(t, m, p, b) },
		} {
			all.send(1, func(int) {
				if w := exec(ask, api); w.Code != http.StatusOK {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		all.leave()
		if w := keyed(); w.Code != http.StatusOK { // nothing was done for that key
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// slowLogs takes as long as it is told to.
type slowLogs struct {
	*logs.Book
	searching chan struct{}
	end       chan struct{}
}

func (s *slowLogs) Read(context.Context, string, logs.Filter, int) ([]logs.Line, error) {
	s.searching <- struct{}{}
	<-s.end
	return nil, nil
}

func (s *slowLogs) Follow(ctx context.Context, api string, f logs.Filter, n int) ([]logs.Line, *logs.Follower, error) {
	_, _ = s.Read(ctx, api, f, n)
	return nil, nil, logs.ErrBusy
}

// TestSearchesOfOneTokenLeaveRoomForOthers has an author search, and follow, many times.
func TestSearchesOfOneTokenLeaveRoomForOthers(t *testing.T) {
	f := newTwo(t)
	anna, bert := f.secretOf(t, `{"role":"author","user":"anna"}`), f.secretOf(t, `{"role":"author","user":"bert"}`)
	synctest.Test(t, func(t *testing.T) {
		slow := &slowLogs{f.book, make(chan struct{}, 10), make(chan struct{})}
		remote := admin.New(f.store, f.deployer, f.lives, slow, admin.Config{Log: zap.NewNop()}).Remote()
		var group sync.WaitGroup
		for i, query := range []string{"", "?follow=true", "", "?follow=true", ""} {
			group.Go(func() { announce(remote, anna, "GET", "/api/v1/apis/of-anna/logs"+query, "", 0) })
			if i == 4 {
				group.Go(func() { announce(remote, bert, "GET", "/api/v1/apis/of-bert/logs", "", 0) })
			}
		}
		synctest.Wait()
		if n := len(slow.searching); n != 3 {
			t.Errorf("%d searches go on", n)
		}
		close(slow.end)
		group.Wait()
		if n := len(slow.searching); n != 6 {
			t.Errorf("%d searches were made", n)
		}
	})
}

// heavyStore has a version of an archive that says how large it is.
type heavyStore struct {
	store.Store
	reading chan struct{}
	proceed chan struct{}
}

func (h *heavyStore) Version(ctx context.Context, apiID string, number int) (store.Version, error) {
	return store.Version{APIID: apiID, Number: number, Bundle: "ab", Files: 2, FileBytes: 30 << 20}, nil
}

func (h *heavyStore) Bundle(context.Context, string, string) ([]byte, error) {
	h.reading <- struct{}{}
	<-h.proceed
	return bytes.Repeat([]byte("x"), 1<<10), nil
}

// TestLargeSourcesWait has an author read the same archive many times.
func TestLargeSourcesWait(t *testing.T) {
	f := newTwo(t)
	anna := f.secretOf(t, `{"role":"author","user":"anna"}`)
	synctest.Test(t, func(t *testing.T) {
		heavy := &heavyStore{Store: f.store, reading: make(chan struct{}, 10), proceed: make(chan struct{})}
		remote := f.with(heavy, nil).Remote()
		var group sync.WaitGroup
		for range 5 {
			group.Go(func() {
				if w := announce(remote, anna, "GET", "/api/v1/apis/of-anna/versions/1/source", "", 0); w.Code != http.StatusOK {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		if n := len(heavy.reading); n != 2 {
			t.Errorf("%d archives of 30 MiB are read at a time", n)
		}
		close(heavy.proceed)
		group.Wait()
	})
}
