package deploy_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"apibuilder/deploy"
	pythonenv "apibuilder/python-env"
	"apibuilder/sandbox"
	"apibuilder/store"
)

func TestFirstDeployMakesAnAPIWithItsKey(t *testing.T) {
	f := newFixture(t)
	result := f.mustDeploy(t, request("resize", "app = 1"))
	if !result.Created || result.Version != 1 || !strings.HasPrefix(result.Secret, store.KeySecretPrefix) {
		t.Fatalf("result %+v", result)
	}
	api, err := f.store.API(t.Context(), "resize")
	if err != nil || api.ActiveVersion != 1 || api.CodeSnapshot != "app = 1" || api.UserID != store.OperatorID {
		t.Fatalf("stored %+v, %v", api, err)
	}
	key, err := f.store.KeyByHash(t.Context(), store.HashSecret(result.Secret))
	if err != nil || key.APIID != api.ID {
		t.Fatalf("key %+v, %v", key, err)
	}
	spec := f.sandboxes.serving[api.ID]
	want := sandbox.Limits{MemoryBytes: 100 << 20, CPU: sandbox.DefaultLimits.CPU, Pids: sandbox.DefaultLimits.Pids}
	if spec.RootPath != "/run/"+api.ID || spec.Code != "app = 1" || spec.Limits != want || spec.Environment != "/envs/env-" {
		t.Fatalf("serving %+v", spec)
	}
}

func TestAHostThatIsTakenIsSaidToBe(t *testing.T) {
	f := newFixture(t)
	r := request("first", "one")
	r.Options = map[string]string{"host": "api.example.com"}
	f.mustDeploy(t, r)
	for range 2 { // with an API of that name too
		r.Name = "second"
		if _, err := f.Deploy(t.Context(), r); !errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) ||
			!strings.Contains(err.Error(), "api.example.com") {
			t.Errorf("%v", err)
		}
		f.mustDeploy(t, request("second", "one"))
	}
}

func TestSecondDeployIsANewVersionWithoutAKey(t *testing.T) {
	f := newFixture(t)
	first := f.mustDeploy(t, request("resize", "one"))
	second := f.mustDeploy(t, request(first.API.ID, "two")) // an id works wherever a name does
	if second.Created || second.Secret != "" || second.Version != 2 || second.API.ID != first.API.ID {
		t.Fatalf("result %+v", second)
	}
	if spec := f.sandboxes.serving[first.API.ID]; spec.Version != 2 || spec.Code != "two" {
		t.Fatalf("serving %+v", spec)
	}
}

func TestPublicAPIGetsNoKeyAndSettingsStay(t *testing.T) {
	f := newFixture(t)
	yes, no := true, false
	rate := store.Rate{Requests: 5, Per: 1e9}
	r := request("open", "one")
	r.Public, r.Rate = &yes, &rate
	if result := f.mustDeploy(t, r); result.Secret != "" {
		t.Fatal("a public API got a key")
	}
	if api := f.mustDeploy(t, request("open", "two")).API; !api.Public || api.Rate != rate {
		t.Fatalf("settings that were not named changed: %+v", api)
	}
	r.Public, r.Rate = &no, nil
	f.mustDeploy(t, r)
	if api, _ := f.store.API(t.Context(), "open"); api.Public || api.Rate != rate {
		t.Fatalf("stored %+v", api)
	}
}

// failures are the ways in which a deploy fails after its request was accepted.
var failures = map[string]struct {
	arrange func(*fixture)
	reason  string
}{
	"build": {func(f *fixture) {
		f.builder.err = &pythonenv.BuildError{Reason: pythonenv.ReasonConflict, Message: "no", Line: 3, Output: "uv says"}
	}, pythonenv.ReasonConflict},
	"start": {func(f *fixture) {
		f.sandboxes.err = &sandbox.Exit{Reason: sandbox.ImportError, Detail: "Traceback"}
	}, "import_error"},
	"stopping": {func(f *fixture) { f.sandboxes.err = sandbox.ErrStopped }, deploy.Canceled},
	"activate": {func(f *fixture) { f.store.activate = errors.New("disk full") }, ""},
	"ready":    {func(f *fixture) { f.store.ready = errors.New("disk full") }, ""},
}

func TestFailedFirstDeployLeavesNothing(t *testing.T) {
	failures := maps.Clone(failures)
	failures["key"] = struct {
		arrange func(*fixture)
		reason  string
	}{func(f *fixture) { f.store.createKey = errors.New("disk full") }, ""}
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			failure.arrange(f)
			_, err := f.Deploy(t.Context(), request("resize", "one"))
			if err == nil || failure.reason != "" && reasonOf(err) != failure.reason {
				t.Fatalf("error %v", err)
			}
			if apis, err := f.store.APIs(t.Context()); err != nil || len(apis) > 0 {
				t.Fatalf("left behind: %+v, %v", apis, err)
			}
			if len(f.sandboxes.serving) > 0 {
				t.Fatalf("still serving %+v", f.sandboxes.serving)
			}
		})
	}
}

func TestFailedLaterDeployKeepsTheOldVersion(t *testing.T) {
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			rate := store.Rate{Requests: 1, Per: 1e9}
			first := f.mustDeploy(t, request("resize", "one"))
			failure.arrange(f)
			r := request("resize", "two")
			r.Rate = &rate
			if _, err := f.Deploy(t.Context(), r); err == nil {
				t.Fatal("no error")
			}
			api, _ := f.store.API(t.Context(), "resize")
			if api.ActiveVersion != 1 || api.CodeSnapshot != "one" || !api.Rate.Unlimited() {
				t.Fatalf("stored %+v", api)
			}
			if spec := f.sandboxes.serving[first.API.ID]; spec.Version != 1 {
				t.Fatalf("serving %+v", spec)
			}
			v, err := f.store.Version(t.Context(), api.ID, 2)
			if err != nil || v.State != store.VersionFailed || v.Failure == "" || v.Detail == "" {
				t.Fatalf("version %+v, %v", v, err)
			}
			if failure.reason != "" && v.Failure != failure.reason {
				t.Fatalf("version failed for %q", v.Failure)
			}
		})
	}
}

func TestBuildErrorReachesTheAuthor(t *testing.T) {
	f := newFixture(t)
	failures["build"].arrange(f)
	_, err := f.Deploy(t.Context(), request("resize", "one"))
	e, ok := errors.AsType[*deploy.Error](err)
	if !ok || e.Message != "requirements line 3: no" || e.Detail != "uv says" {
		t.Fatalf("error %#v", err)
	}
}

func TestAnUnknownErrorIsNoneOfTheAuthors(t *testing.T) {
	f := newFixture(t)
	f.mustDeploy(t, request("resize", "one"))
	f.store.activate = errors.New("secret path")
	_, err := f.Deploy(t.Context(), request("resize", "two"))
	if _, ok := errors.AsType[*deploy.Error](err); ok || !strings.Contains(err.Error(), "secret path") {
		t.Fatalf("error %v", err)
	}
	api, _ := f.store.API(t.Context(), "resize")
	if v, _ := f.store.Version(t.Context(), api.ID, 2); v.Failure != deploy.Internal || strings.Contains(v.Detail, "secret") {
		t.Fatalf("version %+v", v)
	}
}

// A server that stops right after the store was told serves that version when it is back: the deploy has succeeded.
func TestStopAfterTheCommitIsASuccess(t *testing.T) {
	f := newFixture(t)
	f.sandboxes.late = sandbox.ErrStopped
	if result := f.mustDeploy(t, request("resize", "one")); result.Secret == "" || result.API.ActiveVersion != 1 {
		t.Fatalf("result %+v", result)
	}
}

func TestCanceledDeployIsUndone(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	f.builder.enter = func() { cancel(errors.New("the author went away")) }
	_, err := f.Deploy(ctx, request("resize", "one"))
	if reasonOf(err) != deploy.Canceled || !strings.Contains(err.Error(), "the author went away") {
		t.Fatalf("error %v", err)
	}
	if apis, _ := f.store.APIs(t.Context()); len(apis) > 0 {
		t.Fatalf("left behind: %+v", apis)
	}
}

func TestDeploysOfOneAPITakeTurnsAndOthersDoNotWait(t *testing.T) {
	f := newFixture(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	f.builder.enter = func() { entered <- struct{}{}; <-leave }
	results := make(chan error)
	begin := func(name string) {
		go func() {
			_, err := f.Deploy(t.Context(), request(name, "code"))
			results <- err
		}()
	}
	begin("one")
	<-entered
	begin("one")
	begin("two")
	<-entered // of "two": the second of "one" cannot be it, as the end shows
	if apis, _ := f.store.APIs(t.Context()); len(apis) != 2 {
		t.Fatalf("APIs %+v", apis)
	}
	one, _ := f.store.API(t.Context(), "one")
	if versions, _ := f.store.FindVersions(t.Context(), store.VersionFilter{APIID: one.ID}); len(versions) != 1 {
		t.Fatalf("the second deploy did not wait: %+v", versions)
	}
	leave <- struct{}{}
	leave <- struct{}{}
	<-entered
	leave <- struct{}{}
	for range 3 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if versions, _ := f.store.FindVersions(t.Context(), store.VersionFilter{APIID: one.ID}); len(versions) != 2 {
		t.Fatalf("versions %+v", versions)
	}
}

// TestAnIDThatCouldBeAName stands for its API, in whose turn it waits.
func TestAnIDThatCouldBeAName(t *testing.T) {
	f := newFixture(t)
	api, err := f.store.CreateAPI(t.Context(), store.API{ID: "42", Name: "answer", UserID: store.OperatorID})
	if err != nil {
		t.Fatal(err)
	}
	entered, leave, results := make(chan struct{}), make(chan struct{}), make(chan error)
	f.builder.enter = func() { entered <- struct{}{}; <-leave }
	begin := func(name string) {
		go func() {
			_, err := f.Deploy(t.Context(), request(name, "by "+name))
			results <- err
		}()
	}
	begin("42")
	<-entered
	begin("answer")
	begin("another")
	<-entered // of another
	if versions, err := f.store.FindVersions(t.Context(), store.VersionFilter{APIID: api.ID}); err != nil || len(versions) != 1 {
		t.Fatalf("the deploy by the name did not wait for the one by the id: %+v, %v", versions, err)
	}
	leave <- struct{}{}
	leave <- struct{}{}
	<-entered
	leave <- struct{}{}
	for range 3 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if api, err = f.store.API(t.Context(), "42"); err != nil || api.ActiveVersion != 2 || api.Name != "answer" {
		t.Errorf("%+v, %v", api, err)
	}
}

func TestDelete(t *testing.T) {
	f := newFixture(t)
	id := f.mustDeploy(t, request("resize", "one")).API.ID
	if _, err := f.Delete(t.Context(), "resize"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.store.API(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("error %v", err)
	}
	if len(f.sandboxes.serving) > 0 {
		t.Fatal("it still runs")
	}
	if _, err := f.Delete(t.Context(), "resize"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("error %v", err)
	}
}

// TestADeployThatIsGivenUpLast is one that somebody else has overtaken, who finds out when it is to become active.
func TestADeployThatIsGivenUpLast(t *testing.T) {
	f := newFixture(t)
	api := f.mustDeploy(t, request("one", "code 1")).API
	r := request("one", "code 2")
	r.Still = func(context.Context) error { return &deploy.Error{Reason: deploy.Canceled, Message: "overtaken"} }
	if _, err := f.Deploy(t.Context(), r); reasonOf(err) != deploy.Canceled {
		t.Errorf("error is %v", err)
	}
	now, err := f.store.API(t.Context(), api.ID)
	if err != nil || now.ActiveVersion != 1 || now.CodeSnapshot != "code 1" {
		t.Errorf("%+v, %v", now, err)
	}
	if v, err := f.store.Version(t.Context(), api.ID, 2); err != nil || v.State != store.VersionFailed || v.Failure != deploy.Canceled {
		t.Errorf("%+v, %v", v, err)
	}
}
