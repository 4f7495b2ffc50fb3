package admin_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/admin"
	"apibuilder/admin/client"
	"apibuilder/deploy"
	"apibuilder/store"
)

const anyKey = "5f2c7a0e-9a4e-4f6e-8d43-2f7e6f1b9a01"

func (f *fixture) keyed(t *testing.T, key, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	return call(t, f.Local(), "POST", "/api/v1/"+path, body, "Idempotency-Key", key)
}

// TestTheSameRequestIsCarriedOutOnce is every kind of POST that creates something.
func TestTheSameRequestIsCarriedOutOnce(t *testing.T) {
	f := newFixture(t)
	f.api(t, "hello")
	deploys := 0
	f.deployer.do = func(_ context.Context, r deploy.Request) (deploy.Result, error) {
		deploys++
		r.Progress("building")
		return deploy.Result{API: store.API{ID: "api_1", Name: r.Name}, Version: deploys, Secret: "ab_secret"}, nil
	}
	for i, c := range []struct{ path, body string }{
		{"deploys", `{"name":"new","code":"x"}`},
		{"apis/hello/keys", `{"name":"phone"}`},
		{"keys/phone/rotate", `{"overlap_seconds":0}`},
		{"users", `{"name":"carl"}`},
		{"tokens", `{"name":"ci"}`},
		{"users/carl/keys", `{}`},
		{"users", `{"name":"NOT VALID"}`},
		{"users", `{"name":"carl"}`},
	} {
		key := anyKey + string(rune('a'+i))
		first := f.keyed(t, key, c.path, c.body)
		again := f.keyed(t, key, c.path, c.body)
		if first.Code != again.Code || first.Body.String() != again.Body.String() || first.Header().Get("Content-Type") != again.Header().Get("Content-Type") {
			t.Errorf("%s: %d %s, and again %d %s", c.path, first.Code, first.Body, again.Code, again.Body)
		}
		if first.Header().Get("Idempotency-Replayed") != "" || again.Header().Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: replayed is %q, then %q", c.path, first.Header().Get("Idempotency-Replayed"), again.Header().Get("Idempotency-Replayed"))
		}
		for what, w := range map[string]*httptest.ResponseRecorder{
			"body": f.keyed(t, key, c.path, c.body+" "), "path": f.keyed(t, key, "plans", `{}`), "query": f.keyed(t, key, c.path+"?x=1", c.body),
		} {
			if what == "path" { // there is no such operation
				wantProblem(t, w, http.StatusMethodNotAllowed, "method_not_allowed")
				continue
			}
			wantProblem(t, w, http.StatusUnprocessableEntity, "key_reused")
		}
	}
	if keys, _ := f.store.FindKeys(t.Context(), store.KeyFilter{}); len(keys) != 2 || deploys != 1 {
		t.Errorf("%d keys, %d deploys", len(keys), deploys)
	}
	if tokens, _ := f.store.Tokens(t.Context()); len(tokens) != 1 {
		t.Errorf("%d tokens", len(tokens))
	}
	for _, key := range []string{"short", strings.Repeat("x", 201), "with spaces in it, a few", "not ASCII: äöüäöüäöü"} {
		wantProblem(t, f.keyed(t, key, "users", `{"name":"dora"}`), http.StatusBadRequest, "bad_request")
	}
}

// TestKeysOfCallersAreTheirOwn has two authors send the same key, and one of them the request of the other.
func TestKeysOfCallersAreTheirOwn(t *testing.T) {
	f := newTwo(t)
	secrets := map[string]string{}
	for _, user := range []string{"anna", "bert"} {
		secrets[user] = decode[admin.Token](t, f.local(t, "POST", "/api/v1/tokens", `{"role":"author","user":"`+user+`"}`)).Secret
	}
	ask := func(user, path string) *httptest.ResponseRecorder {
		return call(t, f.Remote(), "POST", path, `{}`, "Authorization", "Bearer "+secrets[user], "Idempotency-Key", anyKey)
	}
	key := decode[admin.Key](t, ask("anna", "/api/v1/apis/of-anna/keys"))
	wantProblem(t, ask("bert", "/api/v1/apis/of-anna/keys"), http.StatusNotFound, "not_found")
	if again := decode[admin.Key](t, ask("anna", "/api/v1/apis/of-anna/keys")); again.Secret != key.Secret {
		t.Errorf("%+v", again)
	}
}

// TestNothingOfAnAnswerIsReadable looks for a secret and for the key in the files of the store.
func TestNothingOfAnAnswerIsReadable(t *testing.T) {
	f := newFixture(t)
	f.api(t, "hello")
	key := decode[admin.Key](t, f.keyed(t, anyKey, "apis/hello/keys", `{"name":"phone"}`))
	if again := decode[admin.Key](t, f.keyed(t, anyKey, "apis/hello/keys", `{"name":"phone"}`)); again.Secret != key.Secret {
		t.Errorf("%+v", again)
	}
	if err := f.store.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(f.dir, "db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	seen := false
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		seen = seen || bytes.Contains(content, []byte(key.ID))
		if bytes.Contains(content, []byte(key.Secret)) || bytes.Contains(content, []byte(anyKey)) {
			t.Errorf("%s has the secret or the key", file)
		}
	}
	if !seen {
		t.Error("the files do not have the key's id either: has this looked at the right ones?")
	}
}

// TestOneAtATime has requests come while the first is worked on, and after a server that died.
func TestOneAtATime(t *testing.T) {
	f := newFixture(t)
	began, end := make(chan struct{}), make(chan struct{})
	var deploys atomic.Int32
	f.deployer.do = func(_ context.Context, r deploy.Request) (deploy.Result, error) {
		deploys.Add(1)
		close(began)
		<-end
		return deploy.Result{API: store.API{ID: "api_1", Name: r.Name}}, nil
	}
	const body = `{"name":"new","code":"x"}`
	var group sync.WaitGroup
	group.Go(func() { f.keyed(t, anyKey, "deploys", body) })
	<-began
	w := f.keyed(t, anyKey, "deploys", body)
	wantProblem(t, w, http.StatusConflict, "request_in_progress")
	if w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	wantProblem(t, f.keyed(t, anyKey, "deploys", `{"name":"other","code":"x"}`), http.StatusUnprocessableEntity, "key_reused")
	close(end)
	group.Wait()
	if w := f.keyed(t, anyKey, "deploys", body); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"api_1"`) || deploys.Load() != 1 {
		t.Errorf("%d deploys, then %d %s", deploys.Load(), w.Code, w.Body)
	}
}

// TestWhatTheServerFailedAtIsTriedAgain fails once, by a panic too.
func TestWhatTheServerFailedAtIsTriedAgain(t *testing.T) {
	f := newFixture(t)
	fail := true
	f.deployer.do = func(_ context.Context, r deploy.Request) (deploy.Result, error) {
		if fail {
			return deploy.Result{}, errors.New("the disk is full")
		}
		return deploy.Result{API: store.API{ID: "api_1", Name: r.Name}}, nil
	}
	const body = `{"name":"new","code":"x"}`
	if w := f.keyed(t, anyKey, "deploys", body); !strings.Contains(w.Body.String(), `"internal"`) {
		t.Errorf("%s", w.Body)
	}
	fail = false
	if w := f.keyed(t, anyKey, "deploys", body); !strings.Contains(w.Body.String(), `"api_1"`) {
		t.Errorf("%s", w.Body)
	}
	f.deployer.do = func(context.Context, deploy.Request) (deploy.Result, error) { panic(http.ErrAbortHandler) }
	func() {
		defer func() { _ = recover() }()
		f.keyed(t, anyKey+"2", "deploys", body)
	}()
	f.deployer.do = func(context.Context, deploy.Request) (deploy.Result, error) {
		return deploy.Result{}, &deploy.Error{Reason: "import_error", Message: "it raised"}
	}
	for range 2 {
		if w := f.keyed(t, anyKey+"2", "deploys", body); !strings.Contains(w.Body.String(), `"import_error"`) {
			t.Errorf("%s", w.Body)
		}
	}
}

// TestKeysThatAreOld is a server that died in the middle, and the day after.
func TestKeysThatAreOld(t *testing.T) {
	f := newFixture(t)
	f.api(t, "hello")
	synctest.Test(t, func(t *testing.T) { // the store's own clock is not asked
		began, end := make(chan struct{}), make(chan struct{})
		f.deployer.do = func(_ context.Context, r deploy.Request) (deploy.Result, error) {
			close(began)
			<-end
			return deploy.Result{API: store.API{ID: "api_1", Name: r.Name}}, nil
		}
		const body = `{"name":"new","code":"x"}`
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.keyed(t, anyKey, "deploys", body)
		}()
		<-began
		time.Sleep(10 * time.Minute) // the work goes on
		wantProblem(t, f.keyed(t, anyKey, "deploys", body), http.StatusConflict, "request_in_progress")
		close(end)
		<-done
		time.Sleep(25 * time.Hour)
		f.deployer.do = func(context.Context, deploy.Request) (deploy.Result, error) {
			return deploy.Result{}, &deploy.Error{Reason: "import_error", Message: "it is done anew"}
		}
		if w := f.keyed(t, anyKey, "deploys", body); !strings.Contains(w.Body.String(), "anew") {
			t.Errorf("%s", w.Body)
		}
	})
	dying := &dyingStore{Store: f.store}
	s := f.with(dying, nil)
	ask := func() *httptest.ResponseRecorder {
		return call(t, s.Local(), "POST", "/api/v1/users", `{"name":"carl"}`, "Idempotency-Key", anyKey+"3")
	}
	ask() // whose answer is never kept
	wantProblem(t, ask(), http.StatusConflict, "outcome_unknown")
}

// dyingStore never learns what a request came to, whose work seems to be long ago.
type dyingStore struct{ store.Store }

func (d *dyingStore) ClaimAnswer(ctx context.Context, a store.Answer) (store.Answer, bool, error) {
	a.WorkedUntil = time.Now().Add(-time.Second)
	return d.Store.ClaimAnswer(ctx, a)
}

func (d *dyingStore) KeepAnswer(context.Context, [32]byte, time.Time, []byte) error {
	return store.ErrUnavailable
}

// TestALongAnswerIsKeptByItsEnd has more progress than is kept.
func TestALongAnswerIsKeptByItsEnd(t *testing.T) {
	f := newFixture(t)
	f.deployer.do = func(_ context.Context, r deploy.Request) (deploy.Result, error) {
		for range 300 {
			r.Progress(strings.Repeat("x", 1<<10))
		}
		return deploy.Result{API: store.API{ID: "api_1", Name: r.Name}}, nil
	}
	first := f.keyed(t, anyKey, "deploys", `{"name":"new","code":"x"}`).Body.String()
	again := f.keyed(t, anyKey, "deploys", `{"name":"new","code":"x"}`).Body.String()
	if len(again) > 256<<10 || !strings.HasSuffix(first, again) || !strings.Contains(again, `"api_1"`) {
		t.Errorf("%d bytes, and again %d", len(first), len(again))
	}
}

// breaking ends connections once their request was carried out: the first one after some of its answer.
func breaking(h http.Handler, after int) http.Handler {
	var broken atomic.Bool
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Idempotency-Key") == "" || broken.Swap(true) {
			h.ServeHTTP(w, r)
			return
		}
		whole := httptest.NewRecorder()
		h.ServeHTTP(whole, r)
		if after > 0 {
			w.Header().Set("Content-Type", whole.Header().Get("Content-Type"))
			_, _ = w.Write(whole.Body.Bytes()[:after])
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	})
}

// TestTheClientSendsAgain breaks the connection of a deploy before its answer and within it, and of a key.
func TestTheClientSendsAgain(t *testing.T) {
	for _, after := range []int{0, 10, 40} {
		f := newFixture(t)
		f.api(t, "hello")
		deploys := 0
		f.deployer.do = func(_ context.Context, r deploy.Request) (deploy.Result, error) {
			deploys++
			r.Progress("building")
			r.Progress("starting")
			return deploy.Result{API: store.API{ID: "api_1", Name: r.Name}, Version: deploys}, nil
		}
		c, err := client.Remote(serve(t, breaking(f.Local(), after)), "abt_any")
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		result, err := c.Deploy(t.Context(), admin.DeployRequest{Name: "new", Code: "x"}, func(l string) { lines = append(lines, l) })
		if err != nil || result.Version != 1 || deploys != 1 || strings.Join(lines, " ") != "building starting" {
			t.Errorf("after %d bytes: %+v, %v; %d deploys; %q", after, result, err, deploys, lines)
		}
		if after > 0 { // a client that began to read an answer does not know that it is cut
			continue
		}
		if c, err = client.Remote(serve(t, breaking(f.Local(), 0)), "abt_any"); err != nil {
			t.Fatal(err)
		}
		var key admin.Key
		if err := c.Call(t.Context(), "POST", client.Path("apis", "hello", "keys"), admin.KeyRequest{}, &key); err != nil || key.Secret == "" {
			t.Errorf("%+v, %v", key, err)
		}
		if keys, _ := f.store.FindKeys(t.Context(), store.KeyFilter{}); len(keys) != 1 {
			t.Errorf("%d keys", len(keys))
		}
	}
}
