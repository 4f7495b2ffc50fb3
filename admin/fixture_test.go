package admin_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"apibuilder/admin"
	"apibuilder/deploy"
	"apibuilder/egress"
	"apibuilder/logs"
	"apibuilder/sandbox"
	"apibuilder/store"
	"apibuilder/store/sqlite"
)

// deployer is a fake: real deploys are the subject of package deploy's tests.
type deployer struct {
	store   store.Store
	mu      sync.Mutex      // held while request is written
	request deploy.Request  // the last one
	pack    deploy.Packages // told of every version
	lock    string
	lockErr error
	do      func(ctx context.Context, r deploy.Request) (deploy.Result, error)

	deleting func() // called before something is deleted; nil: nothing is
}

func (d *deployer) Deploy(ctx context.Context, r deploy.Request) (deploy.Result, error) {
	d.mu.Lock()
	d.request = r
	d.mu.Unlock()
	return d.do(ctx, r)
}

func (d *deployer) Packages(ctx context.Context, idOrName string, number int) (p deploy.Packages, err error) {
	api, err := d.store.API(ctx, idOrName)
	if err != nil {
		return p, err
	}
	if number == 0 {
		number = 1
	}
	p = d.pack
	p.API = api
	p.Version, err = d.store.Version(ctx, api.ID, number)
	return p, err
}

func (d *deployer) Lock(_ context.Context, r deploy.Request) (string, error) {
	d.request = r
	r.Progress("resolving")
	return d.lock, d.lockErr
}

func (d *deployer) Delete(ctx context.Context, idOrName string, checks ...store.Check[store.API]) (store.API, error) {
	if d.deleting != nil {
		d.deleting()
	}
	api, err := d.store.API(ctx, idOrName)
	if err == nil {
		err = d.store.DeleteAPI(ctx, api.ID, checks...)
	}
	return api, err
}

func (d *deployer) Grant(plan store.Plan, asked store.Limits) deploy.Grant {
	return deploy.Policy{Defaults: store.Limits{Pids: 77}}.Grant(plan, asked)
}

func (d *deployer) CheckOptions(o store.Options) error {
	return deploy.Policy{Outside: &egress.Ceiling{}}.CheckOptions(o)
}

func (d *deployer) CheckInstances(plan store.Plan, asked map[string]string) error {
	return deploy.CheckInstances(plan, asked)
}

func (d *deployer) Rollback(ctx context.Context, idOrName string, number int, checks ...store.Check[store.API]) (store.API, error) {
	api, err := d.store.API(ctx, idOrName)
	if err == nil {
		err = store.Pass(api, checks)
	}
	if err == nil {
		err = d.store.Activate(ctx, api.ID, number)
	}
	if err != nil {
		return store.API{}, err
	}
	return d.store.API(ctx, api.ID)
}

func (d *deployer) Traffic(
	ctx context.Context, idOrName string, shares []store.Share, checks ...store.Check[store.API],
) (store.API, error) {
	api, err := d.store.API(ctx, idOrName)
	if err != nil {
		return store.API{}, err
	}
	return d.store.ChangeAPI(ctx, api.ID, func(now store.API) (store.API, error) {
		if err := store.Pass(now, checks); err != nil {
			return now, err
		}
		now.Options.Traffic = store.Traffic{Active: now.ActiveVersion, Shares: shares}
		return now, nil
	})
}

func (d *deployer) Promote(ctx context.Context, idOrName string, number int, checks ...store.Check[store.API]) (store.API, error) {
	return d.Rollback(ctx, idOrName, number, checks...)
}

// lifecycle is a fake that remembers what was asked for.
type lifecycle struct {
	running map[string]bool
	trouble map[string]sandbox.Trouble
	err     error
	egress  egress.Report
	waking  func(ctx context.Context) error // nil: err is returned
}

func (l *lifecycle) Sleep(apiID string) bool {
	was := l.running[apiID]
	l.running[apiID] = false
	return was
}

func (l *lifecycle) Wake(ctx context.Context, apiID string) error {
	if l.waking != nil {
		return l.waking(ctx)
	}
	l.running[apiID] = l.err == nil
	return l.err
}

func (l *lifecycle) Trouble(apiID string) (sandbox.Trouble, bool) {
	t, ok := l.trouble[apiID]
	return t, ok
}

func (l *lifecycle) Running(apiID string) bool { return l.running[apiID] }

func (l *lifecycle) Egress(string) egress.Report { return l.egress }

func (l *lifecycle) Instances(apiID string) []sandbox.InstanceInfo {
	if !l.running[apiID] {
		return nil
	}
	return []sandbox.InstanceInfo{{
		ID: "i1", Version: 1, State: sandbox.Serving, InFlight: 3, MemoryBytes: 1 << 20, CPUTime: 3 * time.Second / 2, Started: time.Now(),
	}}
}

type fixture struct {
	*admin.Server
	dir      string // of the store's files
	store    store.Store
	deployer *deployer
	book     *logs.Book
	lives    *lifecycle
	pythons  pythons
	run      func(ctx context.Context, apiID string, version int, t sandbox.Task) (*sandbox.Exit, error)
}

// pythons is a fake that has what it is told.
type pythons struct {
	all []admin.Python
	err error
}

func (p *pythons) List(context.Context) ([]admin.Python, error) { return p.all, p.err }

func (p *pythons) Add(_ context.Context, path string) (admin.Python, error) {
	return admin.Python{Version: "3.10.1", Path: path}, p.err
}

func (p *pythons) Install(_ context.Context, version string, progress func(string)) (admin.Python, error) {
	progress("fetching")
	return admin.Python{Version: version}, p.err
}

func (p *pythons) Remove(_ context.Context, which string) (admin.Python, error) {
	return admin.Python{Path: which}, p.err
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	dir := t.TempDir()
	st, err := sqlite.Open(t.Context(), filepath.Join(dir, "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	f := &fixture{
		dir: dir, store: st, deployer: &deployer{store: st},
		lives: &lifecycle{running: map[string]bool{}},
		book:  logs.New(logs.Config{Dir: t.TempDir()}),
	}
	t.Cleanup(func() { f.book.Close() })
	f.Server = f.with(st, nil)
	return f
}

// with is a server of the fixture over another store, with what encrypts secrets; nil: nothing.
func (f *fixture) with(st store.Store, secrets admin.Secrets) *admin.Server {
	return admin.New(st, f.deployer, f.lives, f.book, admin.Config{
		URL:  func(id string) string { return "http://host/run/" + id },
		Info: func() admin.ServerInfo { return admin.ServerInfo{Version: "1"} },
		Log:  zap.NewNop(),
		Counts: func(string) admin.RequestCounts {
			return admin.RequestCounts{Requests: 10, ClientErrors: 2, ServerErrors: 1}
		},

		Pythons: &f.pythons, Metrics: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		Run: func(ctx context.Context, apiID string, version int, t sandbox.Task) (*sandbox.Exit, error) {
			return f.run(ctx, apiID, version, t)
		},
		MayMap: func(host string, by store.User) bool {
			return host == "api.customer.com" || host == "annas.customer.com" && (by.Name == "anna" || by.ID == "")
		}, Secrets: secrets,
	})
}

func (f *fixture) api(t *testing.T, name string) store.API {
	t.Helper()
	api, err := f.store.CreateAPI(t.Context(), store.API{ID: store.NewID("api"), Name: name, UserID: store.OperatorID})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func call(t *testing.T, h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Header().Get("X-Request-ID") == "" {
		t.Error("an answer without a request id")
	}
	keepsTo(t, method, path, w)
	return w
}

func (f *fixture) local(t *testing.T, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	return call(t, f.Local(), method, path, body)
}

// secretOf makes a token.
func (f *fixture) secretOf(t *testing.T, body string) string {
	t.Helper()
	return decode[admin.Token](t, f.local(t, "POST", "/api/v1/tokens", body)).Secret
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder) (v T) {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if reflect.TypeFor[T]().Kind() == reflect.Slice { // a list comes in pages
		p := struct{ Items *T }{&v}
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func wantProblem(t *testing.T, w *httptest.ResponseRecorder, status int, word string) admin.Problem {
	t.Helper()
	var p admin.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	if w.Code != status || p.Type != word || p.Status != status || p.RequestID != w.Header().Get("X-Request-ID") ||
		w.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("status %d, want %d %s: %s", w.Code, status, word, w.Body)
	}
	return p
}

// serve listens for a test and returns the address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// optionsOf asks which methods a path takes; the document describes no such answer.
func optionsOf(f *fixture, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	f.Local().ServeHTTP(w, httptest.NewRequest(http.MethodOptions, path, nil))
	return w
}

// writeDocument saves the document as the server tells it.
func writeDocument(t *testing.T, f *fixture, file string) {
	t.Helper()
	w := f.local(t, http.MethodGet, "/api/v1/openapi.json", "")
	if err := os.WriteFile(file, w.Body.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
