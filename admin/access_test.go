package admin_test

import (
	"context"
	"fmt"
	"maps"
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

	bertWith func(method, path, body string, header ...string) *httptest.ResponseRecorder
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
	withHeader := func(body string) func(string, string, string, ...string) *httptest.ResponseRecorder {
		secret := decode[admin.Token](t, f.local(t, "POST", "/api/v1/tokens", body)).Secret
		return func(method, path, body string, header ...string) *httptest.ResponseRecorder {
			return call(t, f.Remote(), method, path, body, append(header, "Authorization", "Bearer "+secret)...)
		}
	}
	with := func(body string) func(string, string, string) *httptest.ResponseRecorder {
		ask := withHeader(body)
		return func(method, path, body string) *httptest.ResponseRecorder { return ask(method, path, body) }
	}
	bert := withHeader(`{"role":"author","user":"bert"}`)
	return two{
		fixture: f, anna: with(`{"role":"author","user":"anna"}`), reader: with(`{"role":"reader"}`),
		annasReader: with(`{"role":"reader","user":"anna"}`), bertWith: bert,
		bert: func(method, path, body string) *httptest.ResponseRecorder { return bert(method, path, body) },
	}
}

// operations are those of the management API that need a body or a query which is good; everyOperation finds the others.
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
	"POST /api/v1/apis/%s/exec":                       `{"code":"1"}`,
	"GET /api/v1/apis/%s/versions/1/source":           "",
	"PUT /api/v1/apis/%s/traffic":                     `{"shares":[{"version":1,"weight":1}]}`,
	"POST /api/v1/apis/%s/promote":                    `{}`,
	"POST /api/v1/apis/%s/rollback":                   `{}`,
	"GET /api/v1/apis/%s/versions/active/environment": "",
	"GET /api/v1/usage?api=%s":                        "",
	"DELETE /api/v1/apis/%s":                          "",
	"POST /api/v1/apis/%s/keys/none/rotate":           `{}`,
	"GET /api/v1/usage/sums?by=day&api=%s":            "",
	"GET /api/v1/usage/egress?by=day&api=%s":          "",
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

// everyOperation is operations, and whatever else the document has: a new route is tried here without being named.
func everyOperation(t *testing.T) map[string]string {
	t.Helper()
	c, err := published()
	if err != nil {
		t.Fatal(err)
	}
	all := maps.Clone(operations)
	tried := map[string]bool{}
	for operation := range operations {
		method, path, _ := strings.Cut(operation, " ")
		path, _, _ = strings.Cut(path, "?")
		tried[method+" "+c.find(path)] = true
	}
	example := strings.NewReplacer(
		"{api}", "%s", "{user}", "anna", "{plan}", "pro", "{version}", "active", "{key}", "none", "{token}", "none", "{python}", "none")
	for template, item := range c.paths {
		for method, described := range item {
			method = strings.ToUpper(method)
			if tried[method+" "+template] {
				continue
			}
			path := example.Replace(template)
			if strings.Contains(path, "{") {
				t.Errorf("%s %s: say in everyOperation what stands for its parameter", method, template)
			}
			operation := described.(map[string]any)
			for _, p := range operation["parameters"].([]any) {
				if p := p.(map[string]any); p["name"] == "api" && p["in"] == "query" {
					path += "?api=%s"
				}
			}
			body := ""
			if operation["requestBody"] != nil {
				body = "{}"
			}
			all[method+" "+path] = body
		}
	}
	return all
}

// forEveryone are the operations that name nobody's API and are an author's too: what is told apart in them has tests of its own.
var forEveryone = []string{
	"GET /api/v1/apis", "GET /api/v1/server", "GET /api/v1/top", "GET /api/v1/openapi.json", "GET /api/v1/pythons", "POST /api/v1/locks",
}

// TestNothingOfAnothersIsThere is every operation by one author on another's API: the answer is that of an API that does not
// exist, word for word and header for header but for the name, whatever else the request says.
func TestNothingOfAnothersIsThere(t *testing.T) {
	f := newTwo(t)
	before, _ := f.store.API(t.Context(), "of-anna")
	tag := f.local(t, "GET", "/api/v1/apis/of-anna", "").Header().Get("ETag")
	const none = "api_aaaaaaaaaaaaaaaa"
	walls := 0
	for operation, body := range everyOperation(t) {
		method, path, _ := strings.Cut(operation, " ")
		if slices.Contains(forEveryone, operation) {
			continue
		}
		if !strings.Contains(operation+body, "%s") {
			wantProblem(t, f.bert(method, path, body), http.StatusForbidden, "forbidden")
			continue
		}
		walls++
		for _, header := range [][]string{nil, {"If-Match", tag}, {"If-Match", `"other"`}, {"Idempotency-Key", anyKey + operation[:3] + fmt.Sprint(walls)}} {
			ask := func(id string) *httptest.ResponseRecorder {
				sent := slices.Clone(header)
				if len(sent) > 0 && sent[0] == "Idempotency-Key" {
					sent[1] += id
				}
				return f.bertWith(method, strings.ReplaceAll(path, "%s", id), strings.ReplaceAll(body, "%s", id), sent...)
			}
			theirs, nobodys := ask(before.ID), ask(none)
			wantProblem(t, theirs, http.StatusNotFound, "not_found")
			if a, b := shape(theirs, before.ID), shape(nobodys, none); a != b {
				t.Errorf("%s with %q tells that it is there:\n%s\n%s", operation, header, a, b)
			}
		}
		if path != "/api/v1/deploys" { // whose body has the name
			wantProblem(t, f.bert(method, strings.ReplaceAll(path, "%s", "of-anna"), body), http.StatusNotFound, "not_found")
		}
	}
	if walls < 20 {
		t.Errorf("only %d operations name an API", walls)
	}
	if after, _ := f.store.API(t.Context(), "of-anna"); after.UpdatedAt != before.UpdatedAt {
		t.Error("it was changed")
	}
	if keys, _ := f.store.Keys(t.Context(), before.ID); len(keys) > 0 {
		t.Error("it got a key")
	}
}

// TestNothingOfAnothersShowsInOnesOwn asks for another author's key, version, user and host by way of an own API, and compares what
// there is with what there is not.
func TestNothingOfAnothersShowsInOnesOwn(t *testing.T) {
	f := newTwo(t)
	key := decode[admin.Key](t, f.anna("POST", "/api/v1/apis/of-anna/keys", `{"name":"annas"}`))
	theirs, _ := f.store.API(t.Context(), "of-anna")
	own, _ := f.store.API(t.Context(), "of-bert")
	for i, id := range []string{theirs.ID, own.ID} {
		record := store.Usage{ID: fmt.Sprintf("req_%d", i), APIID: id, KeyID: key.ID, Version: 1, Time: time.Now(), Method: "GET", Path: "/", Status: 200}
		if err := f.store.AddUsage(t.Context(), []store.Usage{record}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/api/v1/apis/of-bert/keys/%s", ""},
		{"DELETE", "/api/v1/apis/of-bert/keys/%s", ""},
		{"POST", "/api/v1/apis/of-bert/keys/%s/rotate", `{"overlap_seconds":0}`},
	} {
		for _, known := range []string{key.ID, key.Prefix, "annas"} {
			a, b := f.bert(c.method, fmt.Sprintf(c.path, known), c.body), f.bert(c.method, fmt.Sprintf(c.path, "key_none"), c.body)
			wantProblem(t, a, http.StatusNotFound, "not_found")
			if a, b := shape(a, known), shape(b, "key_none"); a != b {
				t.Errorf("%s %s tells of %s:\n%s\n%s", c.method, c.path, known, a, b)
			}
		}
	}
	if got := decode[admin.Usage](t, f.bert("GET", "/api/v1/usage?api=of-bert&id=req_0", "")); len(got.Records) != 0 {
		t.Errorf("a record of another's: %+v", got)
	}
	if got := decode[admin.Usage](t, f.bert("GET", "/api/v1/usage?api=of-bert", "")); len(got.Records) != 1 || got.Total != 1 {
		t.Errorf("records %+v", got)
	}
	for _, path := range []string{"/api/v1/apis?limit=1000", "/api/v1/apis?name=anna", "/api/v1/apis?state=deploying"} {
		for _, api := range decode[[]admin.API](t, f.bert("GET", path, "")) {
			if api.Name != "of-bert" {
				t.Errorf("%s lists %s", path, api.Name)
			}
		}
	}
	// A cursor that somebody else got, or that is made up, leads to nothing of theirs.
	operators := decode[admin.Page[admin.API]](t, f.local(t, "GET", "/api/v1/apis?limit=1", ""))
	if got := decode[[]admin.API](t, f.bert("GET", "/api/v1/apis?cursor="+operators.Next, "")); len(got) != 1 || got[0].Name != "of-bert" {
		t.Errorf("with the operator's cursor: %+v", got)
	}
	if info := decode[admin.ServerInfo](t, f.bert("GET", "/api/v1/server", "")); info.Goroutines != 0 || info.PID != 0 || info.APIs != 1 {
		t.Errorf("an author learns how much is going on: %+v", info)
	}
	for _, host := range []string{"annas.example", "nobodys.example"} {
		w := f.bert("PATCH", "/api/v1/apis/of-bert", `{"options":{"host":"`+host+`"}}`)
		wantProblem(t, w, http.StatusBadRequest, "invalid_request")
	}
	for _, user := range []string{"anna", "nobody"} {
		w := f.bert("POST", "/api/v1/deploys", `{"name":"new","code":"x","user":"`+user+`"}`)
		wantProblem(t, w, http.StatusForbidden, "forbidden")
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
	for operation, body := range everyOperation(t) {
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

// TestEveryChangeIsInTheAuditLog is every operation that can change something, by an operator: whatever comes of it, the newest entry
// is about it.
func TestEveryChangeIsInTheAuditLog(t *testing.T) {
	f := newTwo(t)
	server, changes := f.whole().Local(), 0
	for operation, body := range everyOperation(t) {
		method, path, _ := strings.Cut(operation, " ")
		if method == http.MethodGet || operation == "POST /api/v1/locks" { // which only computes
			continue
		}
		changes++
		path = strings.ReplaceAll(path, "%s", "of-anna")
		w := call(t, server, method, path, strings.ReplaceAll(body, "%s", "of-anna"))
		newest := decode[[]admin.AuditEntry](t, call(t, server, "GET", "/api/v1/audit?limit=1", ""))
		if len(newest) != 1 || newest[0].Method != method || !strings.HasPrefix(newest[0].Path, path) || newest[0].Status != w.Code {
			t.Errorf("%s %s was answered with %d, and the newest entry is %+v", method, path, w.Code, newest)
		}
	}
	if changes < 25 {
		t.Errorf("only %d operations change something", changes)
	}
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

// shape is all of an answer but what differs between any two.
func shape(w *httptest.ResponseRecorder, id string) string {
	header := w.Header().Clone()
	request := header.Get("X-Request-ID")
	header.Del("X-Request-ID")
	body := strings.ReplaceAll(w.Body.String(), id, "ID")
	return fmt.Sprint(w.Code, header, strings.ReplaceAll(body, request, "REQUEST"))
}

// TestTheAuditLogNamesWhatWasMade: where a path ends in a list, the log told that a token was made and not which one.
func TestTheAuditLogNamesWhatWasMade(t *testing.T) {
	f := newFixture(t)
	f.api(t, "resize")
	newest := func(want string) {
		t.Helper()
		entries := decode[admin.Page[admin.AuditEntry]](t, f.local(t, "GET", "/api/v1/audit?limit=1", "")).Items
		if len(entries) != 1 || entries[0].Path != want || entries[0].Status != http.StatusOK {
			t.Errorf("%+v, want %q", entries, want)
		}
	}
	token := decode[admin.Token](t, f.local(t, "POST", "/api/v1/tokens", `{"name":"laptop"}`))
	newest("/api/v1/tokens " + token.ID)
	key := decode[admin.Key](t, f.local(t, "POST", "/api/v1/apis/resize/keys", `{}`))
	newest("/api/v1/apis/resize/keys " + key.ID)
	f.local(t, "POST", "/api/v1/users", `{"name":"anna"}`)
	newest("/api/v1/users anna")
	key = decode[admin.Key](t, f.local(t, "POST", "/api/v1/users/anna/keys", `{}`))
	newest("/api/v1/users/anna/keys " + key.ID)
}

// TestTheAuditLogOfAnAPI has what was done to it by way of something else, and deploys that failed.
func TestTheAuditLogOfAnAPI(t *testing.T) {
	f := newFixture(t)
	f.api(t, "hello")
	key := decode[admin.Key](t, f.local(t, "POST", "/api/v1/apis/hello/keys", `{"name":"phone"}`))
	f.local(t, "POST", "/api/v1/keys/phone/rotate", `{"overlap_seconds":0}`)
	f.local(t, "DELETE", "/api/v1/keys/"+key.ID, "")
	f.deployer.do = failing("no")
	f.local(t, "POST", "/api/v1/deploys", `{"name":"hello","code":"x"}`)
	entries := decode[[]admin.AuditEntry](t, f.local(t, "GET", "/api/v1/audit?api=hello", ""))
	if len(entries) != 4 || entries[0].Path != "/api/v1/deploys hello" || entries[0].Status != http.StatusInternalServerError {
		t.Errorf("%+v", entries)
	}
}
