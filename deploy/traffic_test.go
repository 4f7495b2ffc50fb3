package deploy_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"apibuilder/deploy"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// threeVersions deploys versions 1 to 3, of which 3 is active.
func threeVersions(t *testing.T, f *fixture) string {
	t.Helper()
	var id string
	for _, code := range []string{"one", "two", "three"} {
		id = f.mustDeploy(t, request("split", code)).API.ID
	}
	return id
}

func shares(pairs ...int) (out []store.Share) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, store.Share{Version: pairs[i], Weight: pairs[i+1]})
	}
	return out
}

func (f *fixture) mustSplit(t *testing.T, id string, s []store.Share) store.API {
	t.Helper()
	api, err := f.Traffic(t.Context(), id, s)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func TestTrafficIsKept(t *testing.T) {
	f := newFixture(t)
	id := threeVersions(t, f)
	api := f.mustSplit(t, id, shares(3, 10, 2, 90, 1, 0))
	if got := store.SharesText(api.Split()); got != "v2=90 v3=10" || api.ActiveVersion != 3 {
		t.Errorf("%q, version %d is active", got, api.ActiveVersion)
	}
	plan, err := f.Plan(t.Context(), id)
	if want := []sandbox.Share{{Version: 2, Weight: 90}, {Version: 3, Weight: 10}}; err != nil || !slices.Equal(plan.Shares, want) || !slices.Equal(f.sandboxes.shares, want) {
		t.Errorf("%+v, %v, moved %+v", plan, err, f.sandboxes.shares)
	}
	for version, code := range map[int]string{2: "two", 3: "three", 0: "three"} {
		if spec, err := f.Source(t.Context(), id, version); err != nil || spec.Code != code {
			t.Errorf("version %d: %q, %v", version, spec.Code, err)
		}
	}
}

// meanwhile are sandboxes that have something happen while they start versions.
type meanwhile struct {
	*sandboxes
	happens func()
}

func (m meanwhile) Shift(ctx context.Context, api string, shares []sandbox.Share, commit func(context.Context) error) error {
	m.happens()
	return m.sandboxes.Shift(ctx, api, shares, commit)
}

// TestAnotherNodeActivatesMeanwhile: a split would never hold, and what is promoted is what all requests go to.
func TestAnotherNodeActivatesMeanwhile(t *testing.T) {
	for what, do := range map[string]func(*deploy.Deployer, string) (store.API, error){
		"split": func(d *deploy.Deployer, id string) (store.API, error) {
			return d.Traffic(t.Context(), id, shares(3, 1, 2, 1))
		},
		"end the split": func(d *deploy.Deployer, id string) (store.API, error) { return d.Promote(t.Context(), id, 3) },
	} {
		f := newFixture(t)
		id := threeVersions(t, f)
		f.mustSplit(t, id, shares(3, 1, 1, 1))
		other := deploy.New(f.store, f.builder, meanwhile{f.sandboxes, func() { f.mustDeploy(t, request("split", "four")) }}, deploy.Policy{})
		api, err := do(other, id)
		switch {
		case what == "split" && (reasonOf(err) != deploy.InvalidRequest || !strings.Contains(err.Error(), "version 4")):
			t.Errorf("%s: %+v, %v", what, api, err)
		case what != "split" && (err != nil || api.ActiveVersion != 3 || api.Split() != nil):
			t.Errorf("%s: %+v, %v", what, api, err)
		}
	}
}

// TestWhatEndsASplit also has what is left of the split never hold again.
func TestWhatEndsASplit(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(f *fixture, id string) error
		active int
	}{
		"promote the newest": {func(f *fixture, id string) error { _, err := f.Promote(t.Context(), id, 0); return err }, 3},
		"promote another":    {func(f *fixture, id string) error { _, err := f.Promote(t.Context(), id, 2); return err }, 2},
		"a single weight":    {func(f *fixture, id string) error { _, err := f.Traffic(t.Context(), id, shares(2, 5)); return err }, 2},
		"roll back":          {func(f *fixture, id string) error { _, err := f.Rollback(t.Context(), id, 0); return err }, 2},
		"to the active one":  {func(f *fixture, id string) error { _, err := f.Rollback(t.Context(), id, 3); return err }, 3},
		"deploy": {func(f *fixture, _ string) error {
			_, err := f.Deploy(t.Context(), request("split", "four"))
			return err
		}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			id := threeVersions(t, f)
			f.mustSplit(t, id, shares(2, 90, 3, 10))
			if err := c.end(f, id); err != nil {
				t.Fatal(err)
			}
			api, err := f.store.API(t.Context(), id)
			if err != nil || api.ActiveVersion != c.active || api.Split() != nil || !api.Options.Traffic.IsZero() {
				t.Errorf("version %d is active, %+v, %v", api.ActiveVersion, api.Options.Traffic, err)
			}
		})
	}
}

func TestADeployThatEndsASplitSaysSo(t *testing.T) {
	f := newFixture(t)
	id := threeVersions(t, f)
	f.mustSplit(t, id, shares(2, 90, 3, 10))
	var said []string
	r := request("split", "four")
	r.Progress = func(line string) { said = append(said, line) }
	f.mustDeploy(t, r)
	if got := strings.Join(said, "\n"); !strings.Contains(got, "the split v2=90 v3=10 has ended: all requests go to version 4") {
		t.Errorf("it said %q", got)
	}
}

func TestASplitThatIsRefusedOrFailsChangesNothing(t *testing.T) {
	f := newFixture(t)
	id := threeVersions(t, f)
	f.mustSplit(t, id, shares(2, 90, 3, 10))
	for name, c := range map[string]struct {
		shares []store.Share
		want   string
	}{
		"not the active one": {shares(1, 1, 2, 1), "would get no requests"},
		"nobody":             {shares(2, 0), "0 versions"},
		"too many":           {shares(1, 1, 2, 1, 3, 1, 4, 1, 5, 1, 6, 1, 7, 1, 8, 1, 9, 1), "9 versions"},
		"twice":              {shares(2, 1, 2, 1), "twice"},
		"too heavy":          {shares(2, 1, 3, 1001), "cannot have the weight 1001"},
		"negative":           {shares(2, 1, 3, -1), "cannot have the weight -1"},
		"version 0":          {shares(0, 1, 3, 1), "no version 0"},
		"unknown":            {shares(3, 1, 17, 1), "not found"},
	} {
		if _, err := f.Traffic(t.Context(), id, c.shares); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.sandboxes.err = &sandbox.Exit{Reason: sandbox.ImportError}
	if _, err := f.Traffic(t.Context(), id, shares(1, 1, 3, 1)); reasonOf(err) != string(sandbox.ImportError) {
		t.Errorf("error %v", err)
	}
	f.sandboxes.err = nil
	f.store.activate = errors.New("the store is away")
	if _, err := f.Promote(t.Context(), id, 2); err == nil {
		t.Error("a promotion that was not kept succeeded")
	}
	api, err := f.store.API(t.Context(), id)
	if err != nil || store.SharesText(api.Split()) != "v2=90 v3=10" {
		t.Errorf("%+v, %v", api.Options, err)
	}
}

func TestAFailedDeployKeepsTheSplit(t *testing.T) {
	f := newFixture(t)
	id := threeVersions(t, f)
	f.mustSplit(t, id, shares(2, 90, 3, 10))
	f.store.ready = errors.New("the store is away")
	if _, err := f.Deploy(t.Context(), deploy.Request{Name: "split", Code: "four"}); err == nil {
		t.Fatal("it succeeded")
	}
	api, err := f.store.API(t.Context(), id)
	if err != nil || api.ActiveVersion != 3 || store.SharesText(api.Split()) != "v2=90 v3=10" {
		t.Errorf("version %d is active, %+v, %v", api.ActiveVersion, api.Options, err)
	}
}

func TestThePlanHasTheOptions(t *testing.T) {
	f := newFixture(t)
	r := request("scaled", "one")
	r.Options = map[string]string{"min-instances": "1", "max-instances": "4", "concurrency-target": "2", "isolation": "request", "drain-timeout": "3m"}
	id := f.mustDeploy(t, r).API.ID
	plan, err := f.Plan(t.Context(), id)
	if want := (sandbox.Scale{Min: 1, Max: 4, Target: 2, Isolated: true, Drain: 3 * time.Minute}); err != nil || plan.Scale != want {
		t.Errorf("%+v, %v", plan.Scale, err)
	}
	if _, err := f.Plan(t.Context(), "api_none"); !errors.Is(err, sandbox.ErrUnknownAPI) || !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error %v", err)
	}
}
