package admin_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/admin"
	"apibuilder/deploy"
	"apibuilder/store"
)

// two is a server with two authors, each with an API of its own, and a token of every kind.
type two struct {
	*fixture
	anna, bert, reader, annasReader func(method, path, body string) *httptest.ResponseRecorder
}

func newTwo(t *testing.T) two {
	t.Helper()
	f := newFixture(t)
	for _, name := range []string{"anna", "bert"} {
		user := decode[admin.User](t, f.local(t, "POST", "/api/v1/users", `{"name":"`+name+`"}`))
		api := f.api(t, "of-"+name)
		_, err := f.store.ChangeAPI(t.Context(), api.ID, func(now store.API) (store.API, error) {
			now.UserID = user.ID
			return now, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	with := func(body string) func(string, string, string) *httptest.ResponseRecorder {
		secret := decode[admin.Token](t, f.local(t, "POST", "/api/v1/tokens", body)).Secret
		return func(method, path, body string) *httptest.ResponseRecorder {
			return call(t, f.Remote(), method, path, body, "Authorization", "Bearer "+secret)
		}
	}
	return two{
		f, with(`{"role":"author","user":"anna"}`), with(`{"role":"author","user":"bert"}`), with(`{"role":"reader"}`),
		with(`{"role":"reader","user":"anna"}`),
	}
}

// operations are all that the management API has, with a body that is good where it needs one.
var operations = map[string]string{
	"POST /api/v1/deploys":                            `{"name":"%s","code":"x"}`,
	"GET /api/v1/apis/%s":                             "",
	"PATCH /api/v1/apis/%s":                           `{"public":true}`,
	"GET /api/v1/apis/%s/keys":                        "",
	"POST /api/v1/apis/%s/keys":                       `{}`,
	"DELETE /api/v1/apis/%s/keys/none":                "",
	"GET /api/v1/apis/%s/logs":                        "",
	"POST /api/v1/apis/%s/sleep":                      "",
	"POST /api/v1/apis/%s/wake":                       "",
	"PUT /api/v1/apis/%s/traffic":                     `{"shares":[{"version":1,"weight":1}]}`,
	"POST /api/v1/apis/%s/promote":                    `{}`,
	"POST /api/v1/apis/%s/rollback":                   `{}`,
	"GET /api/v1/apis/%s/versions/active/environment": "",
	"GET /api/v1/usage?api=%s":                        "",
	"DELETE /api/v1/apis/%s":                          "",
	"POST /api/v1/apis/%s/keys/none/rotate":           `{}`,
	"GET /api/v1/usage/sums?by=day&api=%s":            "",
	"GET /api/v1/keys":                                "",
	"DELETE /api/v1/keys/none":                        "",
	"POST /api/v1/keys/none/rotate":                   `{}`,
	"GET /api/v1/users/anna/keys":                     "",
	"POST /api/v1/users/anna/keys":                    `{}`,
	"DELETE /api/v1/users/anna/keys/none":             "",
	"POST /api/v1/users/anna/keys/none/rotate":        `{}`,
	"GET /api/v1/quotas":                              "",
	"GET /api/v1/nodes":                               "",
	"GET /api/v1/audit":                               "",
	"POST /api/v1/secrets/rotate":                     `{}`,
	"GET /api/v1/users":                               "",
	"POST /api/v1/users":                              `{"name":"carl"}`,
	"PATCH /api/v1/users/anna":                        `{"plan":"default"}`,
	"GET /api/v1/plans":                               "",
	"PUT /api/v1/plans/pro":                           `{}`,
	"PATCH /api/v1/plans/pro":                         `{}`,
	"GET /api/v1/tokens":                              "",
	"POST /api/v1/tokens":                             `{}`,
	"DELETE /api/v1/tokens/none":                      "",
	"POST /api/v1/pythons":                            `{"path":"/nowhere"}`,
	"DELETE /api/v1/pythons/none":                     "",
	"GET /metrics":                                    "",
}

// TestOperationsAreComplete compares them with the document.
func TestOperationsAreComplete(t *testing.T) {
	c, err := published()
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for operation := range operations {
		method, path, _ := strings.Cut(operation, " ")
		path, _, _ = strings.Cut(path, "?")
		tried[method+" "+c.find(path)] = true
	}
	free := []string{"/api/v1/apis", "/api/v1/server", "/api/v1/openapi.json", "/api/v1/pythons", "/api/v1/locks"} // for every author
	for path, methods := range c.paths {
		for method := range methods {
			if !tried[strings.ToUpper(method)+" "+path] && !slices.Contains(free, path) {
				t.Errorf("%s %s is not tried", strings.ToUpper(method), path)
			}
		}
	}
}

// TestNothingOfAnothersIsThere is every operation by one author on another's API: the answer is that of an API that does not
// exist, word for word but for the name.
func TestNothingOfAnothersIsThere(t *testing.T) {
	f := newTwo(t)
	before, _ := f.store.API(t.Context(), "of-anna")
	for operation, body := range operations {
		method, path, _ := strings.Cut(operation, " ")
		if !strings.Contains(operation+body, "%s") {
			wantProblem(t, f.bert(method, path, body), http.StatusForbidden, "forbidden")
			continue
		}
		ask := func(id string) *httptest.ResponseRecorder {
			return f.bert(method, strings.ReplaceAll(path, "%s", id), strings.ReplaceAll(body, "%s", id))
		}
		theirs, none := ask(before.ID), ask("api_aaaaaaaaaaaaaaaa")
		wantProblem(t, theirs, http.StatusNotFound, "not_found")
		if a, b := shape(theirs, before.ID), shape(none, "api_aaaaaaaaaaaaaaaa"); a != b {
			t.Errorf("%s tells that it is there:\n%s\n%s", operation, a, b)
		}
		if path != "/api/v1/deploys" { // whose body has the name
			wantProblem(t, f.bert(method, fmt.Sprintf(path, "of-anna"), body), http.StatusNotFound, "not_found")
		}
	}
	if after, _ := f.store.API(t.Context(), "of-anna"); after.UpdatedAt != before.UpdatedAt {
		t.Error("it was changed")
	}
	if keys, _ := f.store.Keys(t.Context(), before.ID); len(keys) > 0 {
		t.Error("it got a key")
	}
}

// TestAuthorsWorkOnTheirOwn shows that the same operations are an author's on his own API.
func TestAuthorsWorkOnTheirOwn(t *testing.T) {
	f := newTwo(t)
	own, _ := f.store.API(t.Context(), "of-anna")
	f.deployer.do = func(_ context.Context, r deploy.Request) (deploy.Result, error) { return deploy.Result{API: own}, nil }
	if apis := decode[[]admin.API](t, f.anna("GET", "/api/v1/apis", "")); len(apis) != 1 || apis[0].Name != "of-anna" {
		t.Errorf("sees %+v", apis)
	}
	if info := decode[admin.ServerInfo](t, f.anna("GET", "/api/v1/server", "")); info.APIs != 1 {
		t.Errorf("learns that there are %d APIs", info.APIs)
	}
	for _, path := range []string{"/api/v1/apis/of-anna", "/api/v1/usage?api=of-anna"} {
		if w := f.anna("GET", path, ""); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	wantProblem(t, f.anna("GET", "/api/v1/usage", ""), http.StatusBadRequest, "bad_request")
	key := decode[admin.Key](t, f.anna("POST", "/api/v1/apis/of-anna/keys", `{}`))
	wantProblem(t, f.bert("DELETE", "/api/v1/apis/of-bert/keys/"+key.ID, ""), http.StatusNotFound, "not_found")
	if w := f.anna("DELETE", "/api/v1/apis/of-anna/keys/"+key.ID, ""); w.Code != http.StatusOK {
		t.Errorf("revoke: %d %s", w.Code, w.Body)
	}
	f.anna("POST", "/api/v1/deploys", `{"name":"new","code":"x"}`)
	if r := f.deployer.request; r.UserID != own.UserID || !r.OwnOnly {
		t.Errorf("deploys as %q, own only %v", r.UserID, r.OwnOnly)
	}
	f.deployer.request = deploy.Request{}
	for _, user := range []string{"bert", "operator", "nobody"} {
		wantProblem(t, f.anna("POST", "/api/v1/deploys", `{"name":"new","code":"x","user":"`+user+`"}`), http.StatusForbidden, "forbidden")
	}
	if f.deployer.request.Name != "" {
		t.Error("a deploy for somebody else began")
	}
	if w := f.anna("DELETE", "/api/v1/apis/of-anna", ""); w.Code != http.StatusOK {
		t.Errorf("delete: %d %s", w.Code, w.Body)
	}
}

// TestReadersChangeNothing is every operation that changes something.
func TestReadersChangeNothing(t *testing.T) {
	f := newTwo(t)
	for operation, body := range operations {
		method, path, _ := strings.Cut(operation, " ")
		path = strings.ReplaceAll(path, "%s", "of-anna")
		for _, reader := range []func(string, string, string) *httptest.ResponseRecorder{f.reader, f.annasReader} {
			w := reader(method, path, body)
			if method != http.MethodGet {
				wantProblem(t, w, http.StatusForbidden, "forbidden")
			}
		}
	}
	if apis := decode[[]admin.API](t, f.reader("GET", "/api/v1/apis", "")); len(apis) != 2 {
		t.Errorf("a reader of everything sees %+v", apis)
	}
	if apis := decode[[]admin.API](t, f.annasReader("GET", "/api/v1/apis", "")); len(apis) != 1 {
		t.Errorf("a reader of anna's sees %+v", apis)
	}
	wantProblem(t, f.reader("GET", "/api/v1/tokens", ""), http.StatusForbidden, "forbidden")
	wantProblem(t, f.annasReader("GET", "/api/v1/users", ""), http.StatusForbidden, "forbidden")
	if w := f.reader("GET", "/api/v1/users", ""); w.Code != http.StatusOK {
		t.Errorf("users: %d", w.Code)
	}
}

func TestTokensAreChecked(t *testing.T) {
	f := newTwo(t)
	for _, body := range []string{
		`{"role":"king"}`, `{"role":"author"}`, `{"role":"operator","user":"anna"}`, `{"expires_at":"2001-01-01T00:00:00Z"}`,
	} {
		wantProblem(t, f.local(t, "POST", "/api/v1/tokens", body), http.StatusBadRequest, "bad_request")
	}
	wantProblem(t, f.local(t, "POST", "/api/v1/tokens", `{"role":"author","user":"nobody"}`), http.StatusNotFound, "not_found")
	synctest.Test(t, func(t *testing.T) { // the store's own clock is not asked
		secret, prefix, hash := store.NewSecret(store.TokenSecretPrefix)
		_, err := f.store.CreateToken(t.Context(), store.Token{ID: "tok_1", Name: "x", Prefix: prefix, Hash: hash, ExpiresAt: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		try := func() *httptest.ResponseRecorder {
			return call(t, f.Remote(), "GET", "/api/v1/apis", "", "Authorization", "Bearer "+secret)
		}
		if w := try(); w.Code != http.StatusOK {
			t.Errorf("status %d", w.Code)
		}
		time.Sleep(time.Hour)
		wantProblem(t, try(), http.StatusUnauthorized, "unauthorized")
	})
}

// TestWhatIsTriedIsWrittenDown looks at the audit log after a refused, a failed and a successful change.
func TestWhatIsTriedIsWrittenDown(t *testing.T) {
	f := newTwo(t)
	f.bert("DELETE", "/api/v1/apis/of-anna", "")
	f.bert("POST", "/api/v1/users", `{"name":"carl"}`)
	f.deployer.do = func(context.Context, deploy.Request) (deploy.Result, error) {
		return deploy.Result{}, &deploy.Error{Reason: "import_error", Message: "it raised"}
	}
	f.anna("POST", "/api/v1/deploys", `{"name":"new","code":"x"}`)
	f.anna("PATCH", "/api/v1/apis/of-anna", `{"public":true}`)
	f.anna("GET", "/api/v1/apis", "")
	type line struct {
		Method, Path, Error string
		Status              int
		API                 bool
	}
	var got []line
	for _, e := range decode[[]admin.AuditEntry](t, f.local(t, "GET", "/api/v1/audit?limit=4", "")) {
		if e.Role != "author" || e.Token == "" || e.RequestID == "" || e.User == "" {
			t.Errorf("entry %+v", e)
		}
		got = append(got, line{e.Method, e.Path, e.Error, e.Status, e.API != ""})
	}
	want := []line{
		{"PATCH", "/api/v1/apis/of-anna", "", 200, true},
		{"POST", "/api/v1/deploys new", "import_error", 422, false},
		{"POST", "/api/v1/users", "forbidden", 403, false},
		{"DELETE", "/api/v1/apis/of-anna", "not_found", 404, false},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func shape(w *httptest.ResponseRecorder, id string) string {
	body := strings.ReplaceAll(w.Body.String(), id, "ID")
	return fmt.Sprint(w.Code, strings.ReplaceAll(body, w.Header().Get("X-Request-ID"), "REQUEST"))
}
