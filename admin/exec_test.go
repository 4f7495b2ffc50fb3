package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"apibuilder/admin"
	"apibuilder/deploy"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// deployed is an API with a version that serves.
func (f *fixture) deployed(t *testing.T, name string, v store.Version) store.API {
	t.Helper()
	api := f.api(t, name)
	v.APIID = api.ID
	added, err := f.store.AddVersion(t.Context(), v)
	if err == nil {
		err = f.store.Activate(t.Context(), api.ID, added.Number)
	}
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func execEvents(t *testing.T, body string) (all []admin.ExecEvent) {
	t.Helper()
	for line := range strings.Lines(body) {
		var e admin.ExecEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, e)
	}
	return all
}

func TestExecStreamsAndTellsTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		exit *sandbox.Exit
		err  error
		code int
		word string // of the end, or of the problem
	}{
		"ends":      {exit: &sandbox.Exit{Reason: sandbox.Finished, Code: 7}, code: 7, word: "finished"},
		"too long":  {exit: &sandbox.Exit{Reason: sandbox.TimeLimit, Signal: "SIGKILL"}, code: 124, word: "time_limit"},
		"memory":    {exit: &sandbox.Exit{Reason: sandbox.OutOfMemory}, code: 137, word: "out_of_memory"},
		"no room":   {err: sandbox.ErrNoRoom, word: "no_room"},
		"no start":  {err: &sandbox.Exit{Reason: sandbox.SandboxFailed}, word: "sandbox_failed"},
		"a mistake": {err: errors.New("secret detail"), word: "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			api := f.deployed(t, "tool", store.Version{Code: "x", State: store.VersionReady})
			f.run = func(_ context.Context, apiID string, version int, task sandbox.Task) (*sandbox.Exit, error) {
				if apiID != api.ID || version != 1 || task.Code != "print(1)" || task.Args[0] != "a" || task.Time != 5*time.Second {
					t.Errorf("runs %s %d %+v", apiID, version, task)
				}
				task.Output(sandbox.Line{Stream: "stdout", Text: "1"})
				return c.exit, c.err
			}
			w := f.local(t, "POST", "/api/v1/apis/tool/exec", `{"code":"print(1)","args":["a"],"seconds":5}`)
			events := execEvents(t, w.Body.String())
			if len(events) != 2 || events[0].Line == nil || events[0].Line.Text != "1" {
				t.Fatalf("events %s", w.Body)
			}
			if r := events[1].Result; r != nil && (r.Reason != c.word || r.ExitCode != c.code) {
				t.Errorf("result %+v", r)
			} else if p := events[1].Error; p != nil && (p.Type != c.word || strings.Contains(p.Detail, "secret")) {
				t.Errorf("problem %+v", p)
			} else if r == nil && p == nil {
				t.Errorf("no end: %s", w.Body)
			}
			entries, err := f.store.Audit(t.Context(), store.AuditFilter{APIID: api.ID, Limit: 1})
			if err != nil || len(entries) != 1 || !strings.HasSuffix(entries[0].Path, "/exec") {
				t.Errorf("audit %+v, %v", entries, err)
			}
		})
	}
}

func TestExecRefusesWhatIsWrong(t *testing.T) {
	f := newFixture(t)
	f.run = func(context.Context, string, int, sandbox.Task) (*sandbox.Exit, error) {
		t.Error("it ran")
		return nil, errors.New("it ran")
	}
	f.deployed(t, "tool", store.Version{Code: "x"})
	f.api(t, "new")
	for body, word := range map[string]string{
		`{}`: "bad_request", `{"code":"1","seconds":-1}`: "bad_request", `{"code":"1","seconds":3601}`: "bad_request", `{"code":"1","version":-1}`: "bad_request",
		`{"code":"1","args":[` + strings.Repeat(`"a",`, 200) + `"a"]}`: "bad_request", `{"code":"` + strings.Repeat("x", 2<<20) + `"}`: "bad_request",
	} {
		wantProblem(t, f.local(t, "POST", "/api/v1/apis/tool/exec", body), http.StatusBadRequest, word)
	}
	wantProblem(t, f.local(t, "POST", "/api/v1/apis/tool/exec", `{"code":"1","version":9}`), http.StatusNotFound, "not_found")
	wantProblem(t, f.local(t, "POST", "/api/v1/apis/none/exec", `{"code":"1"}`), http.StatusNotFound, "not_found")
	wantProblem(t, f.local(t, "POST", "/api/v1/apis/new/exec", `{"code":"1"}`), http.StatusConflict, "conflict")
}

func TestSourceComesBack(t *testing.T) {
	f := newFixture(t)
	api := f.deployed(t, "tool", store.Version{Code: "text", Requirements: "six"})
	if got := decode[admin.VersionSource](t, f.local(t, "GET", "/api/v1/apis/tool/versions/1/source", "")); got.Code != "text" || got.Requirements != "six" || got.Archive != nil {
		t.Errorf("source %+v", got)
	}
	if err := f.store.PutBundle(t.Context(), api.ID, "ab", []byte("PK\x00")); err != nil {
		t.Fatal(err)
	}
	v, err := f.store.AddVersion(t.Context(), store.Version{APIID: api.ID, Code: "entry", Bundle: "ab", Entry: "main", Files: 3, FileBytes: 9})
	if err != nil {
		t.Fatal(err)
	}
	got := decode[admin.VersionSource](t, f.local(t, "GET", "/api/v1/apis/tool/versions/2/source", ""))
	if got.Code != "" || string(got.Archive) != "PK\x00" || got.Entry != "main" || got.Files != 3 || got.Version != v.Number {
		t.Errorf("source %+v", got)
	}
	wantProblem(t, f.local(t, "GET", "/api/v1/apis/tool/versions/9/source", ""), http.StatusNotFound, "not_found")
	f.api(t, "new")
	wantProblem(t, f.local(t, "GET", "/api/v1/apis/new/versions/active/source", ""), http.StatusNotFound, "not_found")
}

// TestLargeArchivesArrive sends the largest archive that is taken, and one that no archive can be.
func TestLargeArchivesArrive(t *testing.T) {
	f := newFixture(t)
	f.deployer.do = failing("stop")
	body, err := json.Marshal(admin.DeployRequest{Name: "big", Archive: make([]byte, 33<<20), Entry: "main"})
	if err != nil {
		t.Fatal(err)
	}
	f.local(t, "POST", "/api/v1/deploys", string(body))
	if got := f.deployer.request; len(got.Archive) != 33<<20 || got.Entry != "main" {
		t.Errorf("%d bytes arrived, entry %q", len(got.Archive), got.Entry)
	}
	body, _ = json.Marshal(admin.DeployRequest{Name: "big", Archive: make([]byte, 40<<20)})
	wantProblem(t, f.local(t, "POST", "/api/v1/deploys", string(body)), http.StatusRequestEntityTooLarge, "too_large")
}

func failing(text string) func(context.Context, deploy.Request) (deploy.Result, error) {
	return func(context.Context, deploy.Request) (deploy.Result, error) { return deploy.Result{}, errors.New(text) }
}

// TestCodeEndsWithItsToken revokes the token of who runs code that never ends.
func TestCodeEndsWithItsToken(t *testing.T) {
	t.Parallel()
	f := newTwo(t)
	api := f.deployed(t, "tool", store.Version{Code: "x", State: store.VersionReady})
	anna, err := f.store.User(t.Context(), "anna")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.store.ChangeAPI(t.Context(), api.ID, func(a store.API) (store.API, error) {
		a.UserID = anna.ID
		return a, nil
	}); err != nil {
		t.Fatal(err)
	}
	f.run = func(ctx context.Context, _ string, _ int, _ sandbox.Task) (*sandbox.Exit, error) {
		tokens, err := f.store.Tokens(ctx)
		if err != nil {
			return nil, err
		}
		for _, token := range tokens {
			if token.UserID == anna.ID {
				if _, err := f.store.RevokeToken(ctx, token.ID); err != nil {
					return nil, err
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(30 * time.Second):
			return nil, errors.New("it goes on")
		}
	}
	events := execEvents(t, f.anna("POST", "/api/v1/apis/tool/exec", `{"code":"while True: pass"}`).Body.String())
	if len(events) != 1 || events[0].Error == nil || events[0].Error.Type != "unauthorized" {
		t.Errorf("%+v", events)
	}
}

// TestLongCodeRunsWithAKey sends more than other requests may have, as the command does.
func TestLongCodeRunsWithAKey(t *testing.T) {
	f := newFixture(t)
	f.deployed(t, "tool", store.Version{Code: "x", State: store.VersionReady})
	f.run = func(context.Context, string, int, sandbox.Task) (*sandbox.Exit, error) {
		return &sandbox.Exit{Reason: sandbox.Finished}, nil
	}
	body := `{"code":"` + strings.Repeat("x", 200_000) + `"}`
	if events := execEvents(t, f.keyed(t, anyKey, "apis/tool/exec", body).Body.String()); len(events) != 1 || events[0].Result == nil {
		t.Errorf("%+v", events)
	}
}

// TestCodeIsNotRunTwice breaks the connection while code runs, or ends the server, and sends the request again.
func TestCodeIsNotRunTwice(t *testing.T) {
	for name, cause := range map[string]error{"the client leaves": nil, "the server stops": errors.New("the server is stopping")} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.deployed(t, "tool", store.Version{Code: "x", State: store.VersionReady})
			runs := 0
			ctx, leave := context.WithCancelCause(t.Context())
			f.run = func(ctx context.Context, _ string, _ int, task sandbox.Task) (*sandbox.Exit, error) {
				if runs++; runs > 1 {
					return &sandbox.Exit{Reason: sandbox.Finished}, nil
				}
				task.Output(sandbox.Line{Stream: "stdout", Text: "began"})
				leave(cause)
				<-ctx.Done()
				return nil, ctx.Err()
			}
			r := httptest.NewRequestWithContext(ctx, "POST", "/api/v1/apis/tool/exec", strings.NewReader(`{"code":"send_mail()"}`))
			r.Header.Set("Idempotency-Key", anyKey)
			f.Local().ServeHTTP(httptest.NewRecorder(), r)
			events := execEvents(t, f.keyed(t, anyKey, "apis/tool/exec", `{"code":"send_mail()"}`).Body.String())
			if runs != 1 || len(events) != 2 || events[0].Line == nil || events[1].Error == nil || events[1].Error.Type != "outcome_unknown" {
				t.Errorf("%d runs; %+v", runs, events)
			}
		})
	}
}

// TestCodeDoesNotRunBesideItsDeploy: both would make the version's environment, and the deploy would fail.
func TestCodeDoesNotRunBesideItsDeploy(t *testing.T) {
	f := newFixture(t)
	api := f.deployed(t, "tool", store.Version{Code: "x", State: store.VersionReady})
	if _, err := f.store.AddVersion(t.Context(), store.Version{APIID: api.ID, Code: "y"}); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, f.local(t, "POST", "/api/v1/apis/tool/exec", `{"code":"1","version":2}`), http.StatusConflict, "conflict")
}
