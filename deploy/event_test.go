package deploy_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"apibuilder/deploy"
	pythonenv "apibuilder/python-env"
	"apibuilder/sandbox"
	"apibuilder/store"
)

func TestWhatHappensIsTold(t *testing.T) {
	f := newFixture(t)
	var mu sync.Mutex
	var got []string
	f.Tell(func(e deploy.Event) {
		mu.Lock()
		defer mu.Unlock()
		text := fmt.Sprintf("%d %s %s", e.Version, e.Kind, e.Text)
		if e.Detail != "" {
			text += " | " + e.Detail
		}
		got = append(got, text)
		if e.API == "" {
			t.Errorf("of no API: %+v", e)
		}
	})
	wants := func(what string, want ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if len(got) != len(want) {
			t.Errorf("%s: %q", what, got)
		}
		for i := range min(len(got), len(want)) {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%s: %q, want %q", what, got[i], want[i])
			}
		}
		got = nil
	}
	api := f.mustDeploy(t, request("hello", "one")).API
	wants("deploy", "1 deploying version 1 is deployed", "1 env_built the environment of version 1 was built in ", "1 deployed version 1 serves: it started in ")
	f.mustDeploy(t, request("hello", "two"))
	wants("second", "2 deploying", "2 env_built", "2 deployed")

	f.sandboxes.fail(&sandbox.Exit{Reason: sandbox.ImportError, Detail: "Traceback\nNameError"})
	if _, err := f.Deploy(t.Context(), request("hello", "bad")); reasonOf(err) != "import_error" {
		t.Fatal(err)
	}
	wants("a bad one", "3 deploying", "3 env_built", "3 deploy_failed version 3 failed: import_error: ")
	f.sandboxes.fail(errors.New("secret of the operator's"))
	if _, err := f.Deploy(t.Context(), request("hello", "worse")); err == nil {
		t.Fatal("it worked")
	}
	wants("the operator's problem", "4 deploying", "4 env_built", "4 deploy_failed version 4 failed: internal: the operator finds the reason")
	f.sandboxes.fail(nil)

	if _, err := f.Rollback(t.Context(), "hello", 1); err != nil {
		t.Fatal(err)
	}
	wants("rollback", "1 traffic all requests go to version 1")
	if _, err := f.Traffic(t.Context(), "hello", []store.Share{{Version: 1, Weight: 9}, {Version: 2, Weight: 1}}); err != nil {
		t.Fatal(err)
	}
	wants("split", "0 traffic requests are split: v1=9 v2=1")
	if _, err := f.Promote(t.Context(), "hello", 2); err != nil {
		t.Fatal(err)
	}
	wants("promote", "2 traffic all requests go to version 2")

	clear(f.builder.known)
	if _, err := f.Source(t.Context(), api.ID, 2); err != nil {
		t.Fatal(err)
	}
	wants("a lost environment", "2 env_built the environment of version 2 was gone, and was built again in ")
	clear(f.builder.known)
	f.builder.err = &pythonenv.BuildError{Reason: "no_wheel", Message: "there is no wheel"}
	if _, err := f.Source(t.Context(), api.ID, 2); err == nil {
		t.Fatal("it was built")
	}
	wants("a lost package", "2 build_failed the environment of version 2 was gone, and cannot be built again: there is no wheel")
}
