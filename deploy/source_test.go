package deploy_test

import (
	"errors"
	"testing"
	"time"

	"apibuilder/deploy"
	pythonenv "apibuilder/python-env"
	"apibuilder/sandbox"
	"apibuilder/store"
)

func TestSourceIsTheActiveVersion(t *testing.T) {
	f := newFixture(t)
	r := request("resize", "one")
	r.Env, r.Limits = map[string]string{"A": "b"}, store.Limits{CPU: 0.5}
	id := f.mustDeploy(t, r).API.ID
	spec, err := f.Source(t.Context(), id, 0)
	if err != nil || spec.Code != "one" || spec.Version != 1 || spec.Env["A"] != "b" || spec.Limits.CPU != 0.5 {
		t.Fatalf("spec %+v, %v", spec, err)
	}
	if f.builder.calls != 1 {
		t.Fatal("an environment that exists was built again")
	}
}

func TestSourceBuildsAMissingEnvironmentAgain(t *testing.T) {
	f := newFixture(t)
	id := f.mustDeploy(t, request("resize", "one")).API.ID
	clear(f.builder.known)
	if spec, err := f.Source(t.Context(), id, 0); err != nil || spec.Environment != "/envs/env-" {
		t.Fatalf("spec %+v, %v", spec, err)
	}
	clear(f.builder.known)
	f.builder.err = &pythonenv.BuildError{Reason: pythonenv.ReasonUnreachable, Message: "the index is away"}
	_, err := f.Source(t.Context(), id, 0)
	exit, ok := errors.AsType[*sandbox.Exit](err)
	if !ok || exit.Reason != sandbox.SandboxFailed {
		t.Fatalf("error %v", err)
	}
	calls := f.builder.calls
	_, err = f.Source(t.Context(), id, 0)
	exit, ok = errors.AsType[*sandbox.Exit](err)
	if !ok || exit.Reason != sandbox.SandboxFailed || exit.Detail == "" || exit.RetryAt.Before(time.Now()) || f.builder.calls != calls {
		t.Fatalf("error %v, until %v, after %d more builds", err, exit.RetryAt, f.builder.calls-calls)
	}
	f.TryAgain("api_other")
	if _, err = f.Source(t.Context(), id, 0); err == nil || f.builder.calls != calls {
		t.Fatalf("error %v, after %d more builds", err, f.builder.calls-calls)
	}
	f.TryAgain(id)
	if _, err = f.Source(t.Context(), id, 0); err == nil || f.builder.calls != calls+1 {
		t.Fatalf("error %v, after %d more builds", err, f.builder.calls-calls)
	}
}

func TestSourceOfWhatCannotRun(t *testing.T) {
	f := newFixture(t)
	if _, err := f.Source(t.Context(), "api_none", 0); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("error %v", err)
	}
	api, err := f.store.CreateAPI(t.Context(), store.API{ID: store.NewID("api"), Name: "new", UserID: store.OperatorID})
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Source(t.Context(), api.ID, 0)
	if exit, ok := errors.AsType[*sandbox.Exit](err); !ok || exit.Reason != deploy.NotDeployed {
		t.Fatalf("error %v", err)
	}
}

func TestRecover(t *testing.T) {
	f := newFixture(t)
	old := f.mustDeploy(t, request("old", "one")).API
	untold, err := f.store.CreateAPI(t.Context(), store.API{ID: store.NewID("api"), Name: "first", UserID: store.OperatorID})
	if err != nil {
		t.Fatal(err)
	}
	for _, api := range []string{old.ID, untold.ID} {
		_, err := f.store.AddVersion(t.Context(), store.Version{APIID: api, Code: "two", State: store.VersionBuilding})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n, err := f.Recover(t.Context()); n != 2 || err != nil {
		t.Fatalf("recovered %d, %v", n, err)
	}
	v, err := f.store.Version(t.Context(), old.ID, 2)
	if err != nil || v.State != store.VersionFailed || v.Failure != deploy.Interrupted || v.Detail == "" {
		t.Fatalf("version %+v, %v", v, err)
	}
	if v, _ := f.store.Version(t.Context(), old.ID, 1); v.State != store.VersionReady {
		t.Fatalf("the active version became %+v", v)
	}
	if _, err := f.store.API(t.Context(), "first"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("the name of an interrupted first deploy is not free: %v", err)
	}
	if n, err := f.Recover(t.Context()); n != 0 || err != nil {
		t.Fatalf("a second time %d, %v", n, err)
	}
}

func TestRecoverFinishesTheLastStepOfADeploy(t *testing.T) {
	f := newFixture(t)
	api := f.mustDeploy(t, request("resize", "one")).API
	v, err := f.store.AddVersion(t.Context(), store.Version{APIID: api.ID, Code: "two", State: store.VersionBuilding})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.store.Activate(t.Context(), api.ID, v.Number); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Recover(t.Context()); n != 0 || err != nil {
		t.Fatalf("recovered %d, %v", n, err)
	}
	if v, _ := f.store.Version(t.Context(), api.ID, v.Number); v.State != store.VersionReady {
		t.Fatalf("version %+v", v)
	}
	if spec, err := f.Source(t.Context(), api.ID, 0); err != nil || spec.Code != "two" {
		t.Fatalf("spec %+v, %v", spec, err)
	}
}
