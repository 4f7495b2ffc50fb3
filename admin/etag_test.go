package admin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"apibuilder/admin"
	"apibuilder/store"
)

// TestWhatChangedMeanwhileIsKept reads each kind of thing, has somebody change it, and tries to change what was read.
func TestWhatChangedMeanwhileIsKept(t *testing.T) {
	for _, c := range []struct {
		path, method, at, body string // what is read, and how it is changed
		otherMethod, otherBody string // by somebody else
	}{
		{"apis/hello", "PATCH", "apis/hello", `{"public":true}`, "PATCH apis/hello", `{"public_docs":true}`},
		{"apis/hello", "DELETE", "apis/hello", "", "PATCH apis/hello", `{"public_docs":true}`},
		{"apis/hello", "PUT", "apis/hello/traffic", `{"shares":[{"version":1,"weight":1},{"version":2,"weight":1}]}`, "PATCH apis/hello", `{"public":true}`},
		{"apis/hello", "POST", "apis/hello/promote", `{"version":2}`, "PUT apis/hello/traffic", `{"shares":[{"version":1,"weight":1},{"version":2,"weight":1}]}`},
		{"apis/hello", "POST", "apis/hello/rollback", `{"version":2}`, "POST apis/hello/promote", `{"version":2}`},
		{"apis/hello/keys/phone", "DELETE", "apis/hello/keys/phone", "", "POST apis/hello/keys/phone/rotate", `{"overlap_seconds":0}`},
		{"keys/phone", "POST", "keys/phone/rotate", `{"overlap_seconds":0}`, "POST keys/phone/rotate", `{"overlap_seconds":0}`},
		{"users/operator/keys/all", "DELETE", "users/operator/keys/all", "", "POST keys/all/rotate", `{"overlap_seconds":0}`},
		{"users/anna", "PATCH", "users/anna", `{"plan":"default"}`, "PATCH users/anna", `{"plan":"gold"}`},
		{"plans/gold", "PATCH", "plans/gold", `{"quota":1}`, "PATCH plans/gold", `{"limits":{"pids":50}}`},
		{"plans/gold", "PUT", "plans/gold", `{"quota":1}`, "PATCH plans/gold", `{"limits":{"pids":50}}`},
		{"tokens/tok_1", "DELETE", "tokens/tok_1", "", "DELETE tokens/tok_1", ""},
	} {
		t.Run(c.method+" "+c.at, func(t *testing.T) {
			f := newThings(t)
			ask := func(method, path, body, tag string) *httptest.ResponseRecorder {
				header := []string{"If-Match", tag}
				if tag == "" {
					header = nil
				}
				return call(t, f.Local(), method, "/api/v1/"+path, body, header...)
			}
			read := ask("GET", c.path, "", "")
			tag := read.Header().Get("ETag")
			if read.Code != http.StatusOK || !strings.HasPrefix(tag, `"`) || ask("GET", c.path, "", "").Header().Get("ETag") != tag {
				t.Fatalf("%d, ETag %q, then %q", read.Code, tag, ask("GET", c.path, "", "").Header().Get("ETag"))
			}
			method, path, _ := strings.Cut(c.otherMethod, " ")
			changed := ask(method, path, c.otherBody, tag)
			if changed.Code != http.StatusOK || changed.Header().Get("ETag") == tag {
				t.Fatalf("the other change: %d %s, ETag %q", changed.Code, changed.Body, changed.Header().Get("ETag"))
			}
			now := ask("GET", c.path, "", "")
			if got := changed.Header().Get("ETag"); got != now.Header().Get("ETag") {
				t.Errorf("the change tells the ETag %q, reading it %q", got, now.Header().Get("ETag"))
			}
			for _, stale := range []string{tag, `"x"`, `W/` + now.Header().Get("ETag"), `"x", ` + tag} {
				wantProblem(t, ask(c.method, c.at, c.body, stale), http.StatusPreconditionFailed, "precondition_failed")
			}
			if again := ask("GET", c.path, "", ""); again.Body.String() != now.Body.String() {
				t.Errorf("it was changed:\n%s\n%s", now.Body, again.Body)
			}
			wantProblem(t, ask(c.method, c.at, c.body, "nonsense"), http.StatusBadRequest, "bad_request")
			if w := ask(c.method, c.at, c.body, `"x", `+now.Header().Get("ETag")); w.Code != http.StatusOK {
				t.Errorf("with the tag of now: %d %s", w.Code, w.Body)
			}
		})
	}
}

// newThings is a server with one of each thing that has a tag.
func newThings(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	api := f.api(t, "hello")
	for range 2 {
		if _, err := f.store.AddVersion(t.Context(), store.Version{APIID: api.ID, Code: "x", State: store.VersionReady}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.store.Activate(t.Context(), api.ID, 1); err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string]string{"apis/hello/keys": `{"name":"phone"}`, "users/operator/keys": `{"name":"all"}`, "users": `{"name":"anna"}`} {
		f.local(t, "POST", "/api/v1/"+path, body)
	}
	f.local(t, "PUT", "/api/v1/plans/gold", `{}`)
	if _, err := f.store.CreateToken(t.Context(), store.Token{ID: "tok_1", Name: "x", Hash: [32]byte{1}}); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestOneOfManyWritersWins has all of them change what they read at the same moment.
func TestOneOfManyWritersWins(t *testing.T) {
	f := newThings(t)
	tag := f.local(t, "GET", "/api/v1/apis/hello", "").Header().Get("ETag")
	var won atomic.Int32
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			w := call(t, f.Local(), "PATCH", "/api/v1/apis/hello", `{"options":{"quota":"5"}}`, "If-Match", tag)
			switch w.Code {
			case http.StatusOK:
				won.Add(1)
			case http.StatusPreconditionFailed:
			default:
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	group.Wait()
	if won.Load() != 1 {
		t.Errorf("%d writers won", won.Load())
	}
}

func TestConditionsOnPlans(t *testing.T) {
	f := newThings(t)
	put := func(name string, header ...string) *httptest.ResponseRecorder {
		return call(t, f.Local(), "PUT", "/api/v1/plans/"+name, `{"quota":9}`, header...)
	}
	wantProblem(t, put("gold", "If-None-Match", "*"), http.StatusPreconditionFailed, "precondition_failed")
	wantProblem(t, put("new", "If-Match", "*"), http.StatusPreconditionFailed, "precondition_failed")
	wantProblem(t, put("new", "If-Match", `"x"`), http.StatusPreconditionFailed, "precondition_failed")
	wantProblem(t, put("new", "If-None-Match", `"x"`), http.StatusBadRequest, "bad_request")
	decode[admin.Plan](t, put("new", "If-None-Match", "*"))
	decode[admin.Plan](t, put("new", "If-Match", "*"))
}
