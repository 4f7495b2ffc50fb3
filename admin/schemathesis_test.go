package admin_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"apibuilder/admin"
	"apibuilder/deploy"
	"apibuilder/logs"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// quiet is a log that ends at once for who follows it.
type quiet struct{ *logs.Book }

func (q quiet) Follow(ctx context.Context, api string, f logs.Filter, n int) ([]logs.Line, *logs.Follower, error) {
	tail, follower, err := q.Book.Follow(ctx, api, f, n)
	if err == nil {
		follower.Close()
	}
	return tail, follower, err
}

// deployForReal stores what a deploy would, without building and starting anything.
func (f *fixture) deployForReal(ctx context.Context, r deploy.Request) (deploy.Result, error) {
	if err := r.Check(); err != nil {
		return deploy.Result{}, err
	}
	if err := store.ValidName(r.Name); err != nil {
		return deploy.Result{}, &deploy.Error{Reason: deploy.InvalidRequest, Message: err.Error()}
	}
	owner := r.UserID
	if owner == "" {
		owner = store.OperatorID
	}
	api, err := f.store.API(ctx, r.Name)
	if err != nil {
		if api, err = f.store.CreateAPI(ctx, store.API{ID: store.NewID("api"), Name: r.Name, UserID: owner}); err != nil {
			return deploy.Result{}, err
		}
	}
	v, err := f.store.AddVersion(ctx, store.Version{APIID: api.ID, Code: r.Code, Requirements: r.Requirements, Env: r.Env, State: store.VersionReady})
	if err == nil {
		err = f.store.Activate(ctx, api.ID, v.Number)
	}
	r.Progress("done")
	return deploy.Result{API: api, Version: v.Number}, err
}

// whole is a server of which every operation can be tried.
func (f *fixture) whole() *admin.Server {
	f.deployer.do = f.deployForReal
	f.deployer.lock = "six==1.0"
	f.pythons.all = []admin.Python{{Version: "3.11.2", Path: "/usr/bin/python3.11", Default: true}}
	return admin.New(f.store, f.deployer, f.lives, quiet{f.book}, admin.Config{
		URL:  func(id string) string { return "http://host/run/" + id },
		Info: func() admin.ServerInfo { return admin.ServerInfo{Version: "1"} },
		Log:  zap.NewNop(), Pythons: &f.pythons, Secrets: &vault{keys: []string{"old"}}, MayMap: func(string, store.User) bool { return true },
		Counts: func(string) admin.RequestCounts { return admin.RequestCounts{} },
		Run: func(context.Context, string, int, sandbox.Task) (*sandbox.Exit, error) {
			return &sandbox.Exit{Reason: sandbox.Finished}, nil
		},
	})
}

// TestSchemathesis sends what a generator makes of the document, as each role and without a token: nothing may end in a 5xx or
// in an answer that the document does not have. scripts/schemathesis.sh says what is generated, and runs it for longer.
func TestSchemathesis(t *testing.T) {
	f := newTwo(t)
	s := f.whole()
	url := serve(t, s.Remote())
	script, err := filepath.Abs("../scripts/schemathesis.sh")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), script, "install").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	end := time.Now().Add(8 * time.Minute)
	if limit, ok := t.Deadline(); ok { // a long run is one with a greater -timeout
		end = limit.Add(-10 * time.Second)
	}
	var all sync.WaitGroup
	for role, body := range map[string]string{
		"operator": `{"role":"operator"}`, "author": `{"role":"author","user":"anna"}`, "reader": `{"role":"reader"}`, "nobody": "",
	} {
		token := ""
		if body != "" {
			token = decode[admin.Token](t, f.local(t, "POST", "/api/v1/tokens", body)).Secret
		}
		document := filepath.Join(t.TempDir(), "openapi.json")
		writeDocument(t, f.fixture, document)
		all.Go(func() {
			ctx, cancel := context.WithDeadline(t.Context(), end)
			defer cancel()
			out, err := exec.CommandContext(ctx, script, "run", document, url, token).CombinedOutput()
			if err != nil {
				t.Errorf("as %s: %v\n%s", role, err, out)
			}
			t.Logf("as %s:\n%s", role, fmt.Sprintf("%.3000s", out[max(0, len(out)-3000):]))
		})
	}
	all.Wait()
}
