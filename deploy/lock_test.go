package deploy_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"apibuilder/deploy"
	"apibuilder/python-env"
	"apibuilder/store"
)

// lockAfter deploys and returns the lock that the new version keeps.
func (f *fixture) lockAfter(t *testing.T, r deploy.Request) string {
	t.Helper()
	result := f.mustDeploy(t, r)
	v, err := f.store.Version(t.Context(), result.API.ID, result.Version)
	if err != nil || v.Lock == "" {
		t.Fatalf("version %+v, %v", v, err)
	}
	return v.Lock
}

// TestTheLogOfABuildIsKept has nobody listen, somebody, and a build that fails.
func TestTheLogOfABuildIsKept(t *testing.T) {
	f := newFixture(t)
	var kept, heard []string
	f.KeepProgress(func(api string, version int, line string) {
		kept = append(kept, fmt.Sprintf("%s %d %s", api, version, line))
	})
	id := f.mustDeploy(t, request("resize", "one")).API.ID
	r := request("resize", "two")
	r.Progress = func(line string) { heard = append(heard, line) }
	f.mustDeploy(t, r)
	f.builder.err = &pythonenv.BuildError{Reason: pythonenv.ReasonNotFound, Message: "there is no such package"}
	if _, err := f.Deploy(t.Context(), request("resize", "three")); err == nil {
		t.Error("a build that fails is deployed")
	}
	text := strings.Join(kept, "\n")
	for _, want := range []string{
		id + " 1 building the environment of resize version 1", id + " 1 version 1 answers", id + " 2 starting the program",
		id + " 3 building the environment of resize version 3",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not kept of\n%s", want, text)
		}
	}
	if !slices.Contains(heard, "starting the program") {
		t.Errorf("who listened heard %q", heard)
	}
}

func TestUnchangedRequirementsKeepTheLock(t *testing.T) {
	f := newFixture(t)
	r := request("resize", "one")
	r.Requirements = "six\nflask"
	first := f.lockAfter(t, r)
	var said []string
	r.Progress = func(line string) { said = append(said, line) }
	r.Code, r.Requirements = "two", "flask # comment\n\nSIX"
	if got := f.lockAfter(t, r); got != first || !strings.Contains(strings.Join(said, "\n"), "--upgrade") {
		t.Errorf("unchanged: %q after %q; said %q", got, first, said)
	}
	r.Upgrade = true
	upgraded := f.lockAfter(t, r)
	if upgraded == first || f.builder.last.Lock != "" || !f.builder.last.Upgrade {
		t.Errorf("upgrade: %q", upgraded)
	}
	r.Upgrade = false
	if got := f.lockAfter(t, r); got != upgraded {
		t.Errorf("after the upgrade: %q", got)
	}
	r.Python = "3.12"
	if got := f.lockAfter(t, r); got == upgraded {
		t.Error("another Python kept the lock")
	}
	r.Requirements = "six"
	f.lockAfter(t, r)
	if f.builder.last.Lock != "" {
		t.Error("other requirements kept the lock")
	}
	r.Options = map[string]string{"sdists": "six,Flask"}
	if f.lockAfter(t, r); f.builder.last.Lock != "" || !slices.Equal(f.builder.last.Sdists, []string{"six", "Flask"}) {
		t.Errorf("packages from source: asked for %+v", f.builder.last)
	}
}

// A rollback makes an older version active; what it was built from is built again, whatever was deployed since.
func TestAnOlderVersionIsBuiltFromItsOwnLock(t *testing.T) {
	f := newFixture(t)
	r := request("resize", "one")
	r.Requirements = "six"
	first := f.lockAfter(t, r)
	r.Upgrade = true
	api := f.mustDeploy(t, r).API
	if err := f.store.Activate(t.Context(), api.ID, 1); err != nil {
		t.Fatal(err)
	}
	clear(f.builder.known)
	if _, err := f.Source(t.Context(), api.ID, 0); err != nil || f.builder.last.Lock != first {
		t.Errorf("asked for %+v, %v", f.builder.last, err)
	}
	if v, err := f.store.Version(t.Context(), api.ID, 1); err != nil || v.Lock != first {
		t.Errorf("version %+v, %v", v, err)
	}
}

func TestPackagesOfAVersion(t *testing.T) {
	f := newFixture(t)
	r := request("resize", "one")
	r.Requirements = "six"
	f.mustDeploy(t, r)
	p, err := f.Packages(t.Context(), "resize", 0)
	if err != nil || p.Version.Number != 1 || p.Environment == nil || p.Python != "3.11.2" || len(p.Locked) != 1 ||
		p.Locked[0] != (pythonenv.Package{Name: "six", Version: "1.1"}) {
		t.Errorf("%+v, %v", p, err)
	}
	clear(f.builder.known)
	if p, err := f.Packages(t.Context(), "resize", 1); err != nil || p.Environment != nil {
		t.Errorf("%+v, %v", p, err)
	}
	for _, number := range []int{-1, 2} {
		if _, err := f.Packages(t.Context(), "resize", number); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("version %d: %v", number, err)
		}
	}
	if _, err := f.Packages(t.Context(), "none", 0); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

func TestLockBuildsNothing(t *testing.T) {
	f := newFixture(t)
	text, err := f.Lock(t.Context(), deploy.Request{Requirements: "six", Python: "3.11"})
	if err != nil || text != "lock of six" || f.builder.last.Python != "3.11" || f.builder.calls != 0 {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := f.Lock(t.Context(), deploy.Request{Python: "x"}); reasonOf(err) != deploy.InvalidRequest {
		t.Error(err)
	}
	f.builder.err = &pythonenv.BuildError{Reason: pythonenv.ReasonNotFound, Message: "no"}
	if _, err := f.Lock(t.Context(), deploy.Request{Requirements: "six"}); reasonOf(err) != pythonenv.ReasonNotFound {
		t.Error(err)
	}
}

func TestUsersOfPython(t *testing.T) {
	f := newFixture(t)
	uses := func(path, version string, want ...string) {
		t.Helper()
		if names, err := f.UsersOfPython(t.Context(), path, version); err != nil || !slices.Equal(names, want) {
			t.Errorf("%s (%s) is what %v run with, want %v; %v", path, version, names, want, err)
		}
	}
	first := f.mustDeploy(t, request("resize", "one"))
	uses("/usr/bin/python3", "3.11.2", "resize")
	uses("/opt/python", "3.11.2")

	// A version of a split runs with it, and the active one does not.
	f.builder.paths = map[string]string{"env-two": "/opt/python"}
	second := request("resize", "two")
	second.Requirements = "two"
	f.mustDeploy(t, second)
	if _, err := f.Traffic(t.Context(), first.API.ID, []store.Share{{Version: 1, Weight: 1}, {Version: 2, Weight: 1}}); err != nil {
		t.Fatal(err)
	}
	uses("/usr/bin/python3", "3.11.2", "resize")
	uses("/opt/python", "3.11.2", "resize")

	// An environment that has gone is built again with the Python that its packages are locked for.
	f.builder.known = map[string]bool{}
	uses("/opt/python", "3.11.2", "resize")
	uses("/opt/python", "3.12.1")
}

// TestUsersOfPythonThatAreBeingDeployed asks while an environment is built.
func TestUsersOfPythonThatAreBeingDeployed(t *testing.T) {
	f := newFixture(t)
	asked := false
	f.builder.enter = func() {
		asked = true
		for version, want := range map[string][]string{"3.12.1": {"resize"}, "3.11.2": nil} {
			if names, err := f.UsersOfPython(t.Context(), "/opt/python", version); err != nil || !slices.Equal(names, want) {
				t.Errorf("Python %s is what %v run with, want %v; %v", version, names, want, err)
			}
		}
	}
	r := request("resize", "one")
	r.Python = "3.12"
	if f.mustDeploy(t, r); !asked {
		t.Error("nothing was built")
	}
}

// TestPackagesAreKeptWhereNothingServes deploys an API anew that was taken out of service.
func TestPackagesAreKeptWhereNothingServes(t *testing.T) {
	f := newFixture(t)
	r := request("resize", "one")
	r.Requirements = "six"
	api := f.mustDeploy(t, r).API
	first, err := f.store.Version(t.Context(), api.ID, 1)
	if err != nil || first.Lock == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	if done, err := f.store.Reactivate(t.Context(), api.ID, 1, 0); err != nil || !done {
		t.Fatalf("%t, %v", done, err)
	}
	f.mustDeploy(t, r)
	if f.builder.last.Lock != first.Lock {
		t.Errorf("packages are resolved anew: %q", f.builder.last.Lock)
	}
}
