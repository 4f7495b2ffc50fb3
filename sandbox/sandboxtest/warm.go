package sandboxtest

import (
	"context"
	"slices"
	"testing"
	"time"

	"apibuilder/sandbox"
)

// importer tells which of its imports were there before it ran.
const importer = `
import os, sys, time
before = [name for name in ("xmlrpc.client", "wsgiref.handlers") if name in sys.modules]
time.sleep(0.05)
import xmlrpc.client, wsgiref.handlers
print("imported")
from fastapi import FastAPI
app = FastAPI()
@app.get("/")
def tell():
    return {"before": before, "env": os.environ["SECRET"], "zone": time.strftime("%Z"), "files": sorted(os.listdir("/tmp"))}
`

// warmSandboxes shows that a program which is put to sleep and woken gets a sandbox that waited, has imported what the program
// imports and nothing else of it, and is otherwise like any other.
func warmSandboxes(t *testing.T, h Host) {
	lines := make(chan sandbox.Line, 100)
	spec := h.Spec
	spec.API, spec.Version, spec.RootPath, spec.Code, spec.Env = "api_warm", 1, "/run/api_warm", importer, map[string]string{"SECRET": "mine"}
	m := sandbox.NewManager(sandbox.ManagerConfig{
		Driver: h.Open(t), WarmMemory: 1 << 30, StartTimeout: 3 * time.Minute,
		Source: func(_ context.Context, api string, _ int) (sandbox.Spec, error) {
			spec := spec
			if api == "api_zone" { // which is not imported for, but may take the plain one that waits
				spec.API, spec.RootPath, spec.Env = api, "/run/"+api, map[string]string{"SECRET": "other", "TZ": "JST-9"}
			}
			return spec, nil
		},
		Plan: func(context.Context, string) (sandbox.Plan, error) {
			return sandbox.Plan{Shares: []sandbox.Share{{Version: 1, Weight: 1}}}, nil
		},
		OnOutput: func(_ string, _ int, line sandbox.Line) { lines <- line },
	})
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	for round, want := range []int{0, 2, 2} {
		lease, err := m.Acquire(t.Context(), "api_warm")
		if err != nil {
			t.Fatal(err)
		}
		got := get[struct {
			Before, Files []string
			Env           string
		}](t, lease.Instance, "/")
		if len(got.Before) != want || got.Env != "mine" || len(got.Files) != 1 {
			t.Errorf("start %d: %+v, want %d imported before", round, got, want)
		}
		select {
		case line := <-lines:
			if line.Text != "imported" {
				t.Errorf("start %d printed %q", round, line.Text)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("start %d printed nothing", round)
		}
		t.Logf("start %d took %v", round, lease.StartTime())
		instance := lease.Instance
		lease.Release()
		m.Sleep("api_warm")
		<-instance.Done()
		waitFor(t, "a warm sandbox", func() bool { return m.Warm() > 1 }) // the plain one, and one with the imports
	}
	lease, err := m.Acquire(t.Context(), "api_zone")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	if got := get[struct{ Env, Zone string }](t, lease.Instance, "/"); got.Env != "other" || got.Zone != "JST" {
		t.Errorf("a sandbox that waited serves %+v", got)
	}
}

// firstRequestIsPrepared shows that a first request finds imported what it needs, and that the way to it leaves a program
// nothing to notice: asyncio, threads and the garbage collector are as where uvicorn starts it.
func firstRequestIsPrepared(t *testing.T, b *bench) {
	i := b.launch(t, `
import asyncio, gc, sys, threading
begin = {
    "threads": threading.active_count(), "collects": gc.isenabled(), "frozen": gc.get_freeze_count() > 10000,
    "loop": asyncio.get_event_loop().is_closed(),
}
known = set(sys.modules)
@app.get("/")
def root(): return {**begin, "late": sorted(set(sys.modules) - known)}
`)
	got := get[struct {
		Threads                int
		Collects, Frozen, Loop bool
		Late                   []string
	}](t, i, "/")
	if got.Threads != 1 || !got.Collects || !got.Frozen || got.Loop {
		t.Errorf("the program began with %+v", got)
	}
	// FastAPI has one module of its own that only a started application asks for.
	late := slices.DeleteFunc(got.Late, func(name string) bool { return name == "fastapi.telemetry._runtime" })
	if len(late) > 0 {
		t.Errorf("a first request imports %v", late)
	}
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("there is no %s within a minute", what)
		}
	}
}
