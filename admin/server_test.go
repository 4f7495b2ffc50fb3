package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"

	"apibuilder/admin"
	"apibuilder/deploy"
	"apibuilder/store"
)

func TestRemoteNeedsAToken(t *testing.T) {
	f := newFixture(t)
	token := decode[admin.Token](t, f.local(t, "POST", "/api/v1/tokens", `{"name":"laptop"}`))
	if !strings.HasPrefix(token.Secret, store.TokenSecretPrefix) {
		t.Fatalf("token %+v", token)
	}
	try := func(authorization string) *httptest.ResponseRecorder {
		return call(t, f.Remote(), "GET", "/api/v1/apis", "", "Authorization", authorization)
	}
	for _, wrong := range []string{
		"", "Bearer", "Bearer ", "Bearer abt_", "Bearer abt_wrong", "Basic " + token.Secret, token.Secret,
		"Bearer " + token.Secret + "x", "Bearer " + token.Prefix, "Bearer ab_" + token.Secret[4:],
	} {
		w := try(wrong)
		wantProblem(t, w, http.StatusUnauthorized, "unauthorized")
		if w.Header().Get("WWW-Authenticate") == "" {
			t.Error("no WWW-Authenticate")
		}
	}
	if w := try("Bearer " + token.Secret); w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	// An address that does not exist is not told to strangers either.
	wantProblem(t, call(t, f.Remote(), "GET", "/nowhere", ""), http.StatusUnauthorized, "unauthorized")

	f.local(t, "DELETE", "/api/v1/tokens/"+token.ID, "")
	wantProblem(t, try("Bearer "+token.Secret), http.StatusUnauthorized, "unauthorized")
}

func TestSecretsAreToldOnce(t *testing.T) {
	f := newFixture(t)
	f.api(t, "resize")
	key := decode[admin.Key](t, f.local(t, "POST", "/api/v1/apis/resize/keys", `{"rate":{"requests":5,"seconds":60}}`))
	token := decode[admin.Token](t, f.local(t, "POST", "/api/v1/tokens", `{}`))
	for _, path := range []string{"/api/v1/apis/resize/keys", "/api/v1/tokens"} {
		body := f.local(t, "GET", path, "").Body.String()
		if strings.Contains(body, key.Secret) || strings.Contains(body, token.Secret) || strings.Contains(body, "secret") {
			t.Errorf("%s tells a secret: %s", path, body)
		}
	}
	stored, err := f.store.KeyByHash(t.Context(), store.HashSecret(key.Secret))
	if err != nil || stored.Rate.Requests != 5 || stored.Rate.Per.Seconds() != 60 {
		t.Fatalf("stored %+v, %v", stored, err)
	}
}

func TestErrorsAreProblems(t *testing.T) {
	f := newFixture(t)
	f.api(t, "resize")
	for _, c := range []struct {
		method, path, body string
		status             int
		word               string
	}{
		{"GET", "/", "", 404, "not_found"},
		{"GET", "/api/v1/apis/none", "", 404, "not_found"},
		{"GET", "/api/v1/apis/%2e%2e", "", 404, "not_found"},
		{"DELETE", "/api/v1/apis/none", "", 404, "not_found"},
		{"DELETE", "/api/v1/apis/resize/keys/none", "", 404, "not_found"},
		{"DELETE", "/api/v1/tokens/none", "", 404, "not_found"},
		{"PATCH", "/api/v1/users/none", `{"plan":"default"}`, 404, "not_found"},
		{"PATCH", "/api/v1/users/operator", `{"plan":"none"}`, 404, "not_found"},
		{"PATCH", "/api/v1/users/operator", `{}`, 400, "bad_request"},
		{"PATCH", "/api/v1/users/operator", `{"plan":"default","name":"root"}`, 400, "bad_request"},
		{"PATCH", "/api/v1/users/operator", `{"plan":"default","id":"user_x"}`, 400, "bad_request"},
		{"POST", "/api/v1/deploys", `{"name":"x","code":"y","user":"none"}`, 404, "not_found"},
		{"PUT", "/api/v1/apis", "", 405, "method_not_allowed"},
		{"POST", "/api/v1/users", `{"name":"a","colour":1}`, 400, "bad_request"},
		{"POST", "/api/v1/users", `{"name":"a"} {}`, 400, "bad_request"},
		{"POST", "/api/v1/users", `{"name":`, 400, "bad_request"},
		{"POST", "/api/v1/users", ``, 400, "bad_request"},
		{"POST", "/api/v1/deploys", `{"name":"x","code":"print('` + "\xe4" + `')"}`, 400, "bad_request"},
		{"POST", "/api/v1/users", "{\"name\":\"\xc3", 400, "bad_request"},
		{"POST", "/api/v1/users", `{"name":"Not Valid"}`, 400, "bad_request"},
		{"POST", "/api/v1/users", `{"name":"` + strings.Repeat("a", 70000) + `"}`, 413, "too_large"},
		{"POST", "/api/v1/users", `{"name":"operator"}`, 409, "conflict"},
		{"PUT", "/api/v1/plans/pro", `{"rate":{"requests":-1,"seconds":1}}`, 400, "bad_request"},
		{"PUT", "/api/v1/plans/pro", `{"rate":{"requests":1,"seconds":0}}`, 400, "bad_request"},
		{"PUT", "/api/v1/plans/No", `{}`, 400, "bad_request"},
		{"POST", "/api/v1/apis/resize/keys", `{"name":"a\u001bb"}`, 400, "bad_request"},
		{"GET", "/api/v1/apis/resize/logs?tail=-1", "", 400, "bad_request"},
		{"GET", "/api/v1/usage?limit=x", "", 400, "bad_request"},
		{"GET", "/api/v1/usage?since=yesterday", "", 400, "bad_request"},
		{"GET", "/api/v1/usage?api=none", "", 404, "not_found"},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			wantProblem(t, f.local(t, c.method, c.path, c.body), c.status, c.word)
		})
	}
}

func TestAFieldOfAnotherTypeIsNamed(t *testing.T) {
	f := newFixture(t)
	for body, want := range map[string]string{
		`{"name":"x","code":"y","requirements":["fastapi"]}`: `: "requirements" has the type array in place of string`,
		`{"name":"x","code":"y","public":"yes"}`:             `: "public" has the type string in place of boolean`,
		`[]`:                                                 ": it has the type array in place of object",
		`{"name":"x","requirments":"fast"}`:                  `: unknown field "requirments"`,
	} {
		response := f.local(t, "POST", "/api/v1/deploys", body)
		if p := wantProblem(t, response, 400, "bad_request"); !strings.HasSuffix(p.Detail, want) {
			t.Errorf("%s: %s", body, p.Detail)
		}
	}
}

func TestAnUnknownErrorKeepsItsDetailToTheLog(t *testing.T) {
	f := newFixture(t)
	f.store.Close()
	p := wantProblem(t, f.local(t, "GET", "/api/v1/apis", ""), 500, "internal")
	if strings.Contains(p.Detail, "closed") {
		t.Fatalf("problem %+v", p)
	}
}

func events(t *testing.T, body *bytes.Buffer) (all []admin.DeployEvent) {
	t.Helper()
	d := json.NewDecoder(body)
	for {
		var e admin.DeployEvent
		err := d.Decode(&e)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

// TestALongNameIsNotRepeated: what it names would be in the log, and again in the answer.
func TestALongNameIsNotRepeated(t *testing.T) {
	f := newFixture(t)
	long := strings.Repeat("a", 1<<20)
	for _, body := range []string{`{"name":"` + long + `","code":"x"}`, `{"name":"a","user":"` + long + `","code":"x"}`} {
		w := f.local(t, "POST", "/api/v1/deploys", body)
		if w.Code != http.StatusBadRequest || w.Body.Len() > 1000 {
			t.Errorf("%d with %d bytes", w.Code, w.Body.Len())
		}
	}
}

func TestDeployStreamsProgressThenTheResult(t *testing.T) {
	f := newFixture(t)
	f.deployer.do = func(_ context.Context, r deploy.Request) (deploy.Result, error) {
		r.Progress("building")
		return deploy.Result{API: store.API{ID: "api_x", Name: r.Name}, Version: 3, Created: true, Secret: "ab_s"}, nil
	}
	w := f.local(t, "POST", "/api/v1/deploys", `{"name":"resize","code":"c","env":{"A":"b"},"limits":{"pids":9},
		"public":false,"rate":{"requests":2,"seconds":1}}`)
	all := events(t, w.Body)
	if len(all) != 2 || all[0].Progress != "building" || all[1].Result == nil {
		t.Fatalf("events %+v", all)
	}
	if r := all[1].Result; r.URL != "http://host/run/api_x" || r.Key != "ab_s" || r.Version != 3 || r.Name != "resize" {
		t.Fatalf("result %+v", r)
	}
	got := f.deployer.request
	if got.Env["A"] != "b" || got.Limits.Pids != 9 || got.Public == nil || *got.Public || got.PublicDocs != nil ||
		got.Rate.Requests != 2 {
		t.Fatalf("request %+v", got)
	}
}

func TestFailedDeployEndsInAProblem(t *testing.T) {
	f := newFixture(t)
	f.deployer.do = func(context.Context, deploy.Request) (deploy.Result, error) {
		return deploy.Result{}, &deploy.Error{Reason: "import_error", Message: "it raised", Remedy: "mend it", Detail: "Traceback"}
	}
	w := f.local(t, "POST", "/api/v1/deploys", `{"name":"resize","code":"c"}`)
	all := events(t, w.Body)
	if len(all) != 1 || all[0].Error == nil {
		t.Fatalf("events %+v", all)
	}
	p := all[0].Error
	if p.Type != "import_error" || p.Status != 422 || p.Output != "Traceback" || p.RequestID != w.Header().Get("X-Request-ID") {
		t.Fatalf("problem %+v", p)
	}
}

func TestAClientThatGoesAwayEndsItsDeploy(t *testing.T) {
	f := newFixture(t)
	begun, ended := make(chan struct{}), make(chan error, 1)
	f.deployer.do = func(ctx context.Context, r deploy.Request) (deploy.Result, error) {
		close(begun)
		<-ctx.Done()
		ended <- ctx.Err()
		return deploy.Result{}, ctx.Err()
	}
	server := httptest.NewServer(f.Local())
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", server.URL+"/api/v1/deploys", strings.NewReader(`{"name":"a","code":"c"}`))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-begun
		cancel()
	}()
	if response, err := server.Client().Do(r); err == nil {
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestShowNamesEnvButNotItsValues(t *testing.T) {
	f := newFixture(t)
	api := f.api(t, "resize")
	_, err := f.store.AddVersion(t.Context(), store.Version{
		APIID: api.ID, Code: "c", Env: map[string]string{"TOKEN": "hunter2"}, State: store.VersionFailed,
		Failure: "import_error", Detail: "Traceback",
	})
	if err != nil {
		t.Fatal(err)
	}
	w := f.local(t, "GET", "/api/v1/apis/"+api.ID, "")
	if strings.Contains(w.Body.String(), "hunter2") {
		t.Fatalf("a secret is shown: %s", w.Body)
	}
	got := decode[admin.API](t, w)
	v := got.Versions[0]
	if v.EnvNames[0] != "TOKEN" || v.Reason != "import_error" || v.Detail != "Traceback" || got.State != "deploying" {
		t.Fatalf("shown %+v", got)
	}
	if v := decode[admin.Version](t, f.local(t, "GET", "/api/v1/apis/"+api.ID+"/versions/1", "")); v.EnvNames[0] != "TOKEN" || v.CodeBytes != 1 {
		t.Fatalf("shown %+v", v)
	}
	if all := decode[admin.Page[admin.Version]](t, f.local(t, "GET", "/api/v1/apis/"+api.ID+"/versions", "")); all.Items[0].CodeBytes != 1 {
		t.Fatalf("listed %+v", all)
	}
}

func TestPatchChangesOnlyWhatItNames(t *testing.T) {
	f := newFixture(t)
	f.api(t, "resize")
	f.local(t, "PATCH", "/api/v1/apis/resize", `{"public":true,"rate":{"requests":1,"seconds":1}}`)
	got := decode[admin.API](t, f.local(t, "PATCH", "/api/v1/apis/resize", `{"public_docs":true}`))
	if !got.Public || !got.PublicDocs || got.Rate == nil || got.Rate.Requests != 1 {
		t.Fatalf("API %+v", got)
	}
	if got := decode[admin.API](t, f.local(t, "PATCH", "/api/v1/apis/resize", `{"rate":{"requests":0,"seconds":0}}`)); got.Rate != nil {
		t.Fatalf("API %+v", got)
	}
}

func TestKeysAreFoundByIDPrefixAndName(t *testing.T) {
	f := newFixture(t)
	f.api(t, "resize")
	f.api(t, "other")
	create := func(name string) admin.Key {
		return decode[admin.Key](t, f.local(t, "POST", "/api/v1/apis/resize/keys", `{"name":"`+name+`"}`))
	}
	a, b, c, d := create("a"), create("b"), create("twice"), create("twice")
	wantProblem(t, f.local(t, "DELETE", "/api/v1/apis/other/keys/"+a.ID, ""), 404, "not_found")
	wantProblem(t, f.local(t, "DELETE", "/api/v1/apis/resize/keys/twice", ""), 400, "bad_request")
	for _, word := range []string{a.ID, b.Prefix, c.ID, "twice"} {
		if got := decode[admin.Key](t, f.local(t, "DELETE", "/api/v1/apis/resize/keys/"+word, "")); got.RevokedAt == nil {
			t.Fatalf("%s: %+v", word, got)
		}
	}
	if k, _ := f.store.KeyByHash(t.Context(), store.HashSecret(d.Secret)); k.RevokedAt.IsZero() {
		t.Fatal("the last one called twice is valid still")
	}
}

func TestDelete(t *testing.T) {
	f := newFixture(t)
	api := f.api(t, "resize")
	if got := decode[admin.API](t, f.local(t, "DELETE", "/api/v1/apis/resize", "")); got.ID != api.ID {
		t.Fatalf("deleted %+v", got)
	}
	wantProblem(t, f.local(t, "GET", "/api/v1/apis/resize", ""), 404, "not_found")
}

func TestUsageFlushesFirst(t *testing.T) {
	f := newFixture(t)
	api := f.api(t, "resize")
	flush := func(ctx context.Context) error {
		return f.store.AddUsage(ctx, []store.Usage{{ID: "r1", APIID: api.ID, Status: 200}})
	}
	s := admin.New(f.store, f.deployer, f.lives, f.book, admin.Config{Flush: flush, Log: zap.NewNop()})
	got := decode[admin.Usage](t, call(t, s.Local(), "GET", "/api/v1/usage?api=resize", ""))
	if got.Total != 1 || len(got.Records) != 1 || got.Records[0].Status != 200 {
		t.Fatalf("usage %+v", got)
	}
}
