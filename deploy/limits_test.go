package deploy_test

import (
	"errors"
	"strings"
	"testing"

	"apibuilder/deploy"
	"apibuilder/sandbox"
	"apibuilder/store"
)

func TestGrant(t *testing.T) {
	builtin := sandbox.DefaultLimits
	origins := func(memory, cpu, pids deploy.Origin) deploy.Origins {
		return deploy.Origins{Memory: memory, CPU: cpu, Pids: pids}
	}
	const version, plan, fallback = deploy.FromVersion, deploy.FromPlan, deploy.FromDefault
	const planCut, serverCut = deploy.FromPlanCeiling, deploy.FromServerCeiling
	for name, c := range map[string]struct {
		policy  deploy.Policy
		plan    store.Plan
		asked   store.Limits
		want    store.Limits
		origins deploy.Origins
	}{
		"nobody says anything": {
			want:    store.Limits{MemoryBytes: builtin.MemoryBytes, CPU: builtin.CPU, Pids: builtin.Pids},
			origins: origins(fallback, fallback, fallback),
		},
		"server, plan, version": {
			policy:  deploy.Policy{Defaults: store.Limits{MemoryBytes: 1 << 30, CPU: 2, Pids: 20}},
			plan:    store.Plan{Limits: store.Limits{CPU: 3, Pids: 30}},
			asked:   store.Limits{Pids: 40},
			want:    store.Limits{MemoryBytes: 1 << 30, CPU: 3, Pids: 40},
			origins: origins(fallback, plan, version),
		},
		"less is as good as more": {
			plan:    store.Plan{Limits: store.Limits{MemoryBytes: 9 << 30, CPU: 9, Pids: 9}},
			asked:   store.Limits{MemoryBytes: 1 << 26, CPU: 0.25, Pids: 8},
			want:    store.Limits{MemoryBytes: 1 << 26, CPU: 0.25, Pids: 8},
			origins: origins(version, version, version),
		},
		"each is cut": { // a version that was deployed before the ceiling came, a plan's own limit, a default
			policy:  deploy.Policy{Ceiling: store.Limits{MemoryBytes: 1 << 30, CPU: 0.5, Pids: 100}},
			plan:    store.Plan{Limits: store.Limits{Pids: 200}, Ceiling: store.Limits{MemoryBytes: 1 << 29, CPU: 4}},
			asked:   store.Limits{MemoryBytes: 1 << 31},
			want:    store.Limits{MemoryBytes: 1 << 29, CPU: 0.5, Pids: 100},
			origins: origins(planCut, serverCut, serverCut),
		},
		"what is at the ceiling is not cut": {
			plan:    store.Plan{Ceiling: store.Limits{MemoryBytes: 1 << 29, CPU: 2, Pids: 64}},
			asked:   store.Limits{MemoryBytes: 1 << 29, CPU: 2, Pids: 64},
			want:    store.Limits{MemoryBytes: 1 << 29, CPU: 2, Pids: 64},
			origins: origins(version, version, version),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.policy.Grant(c.plan, c.asked)
			if got.Limits != c.want || got.Origins != c.origins {
				t.Fatalf("got %+v", got)
			}
		})
	}
}

func TestMoreThanTheCeilingIsRefusedByName(t *testing.T) {
	policy := deploy.Policy{Ceiling: store.Limits{MemoryBytes: 1 << 30, CPU: 2}}
	plan := store.Plan{Name: "small", Ceiling: store.Limits{CPU: 0.5, Pids: 32, MemoryBytes: 1 << 40}}
	for _, c := range []struct {
		asked store.Limits
		want  string // empty: allowed
	}{
		{store.Limits{}, ""},
		{store.Limits{MemoryBytes: 1 << 30, CPU: 0.5, Pids: 32}, ""},
		{store.Limits{MemoryBytes: 1<<30 + 1}, "memory limit of 1073741825 bytes is above the ceiling of 1024 MiB, the server's"},
		{store.Limits{CPU: 0.51}, "CPU limit of 0.51 cores is above the ceiling of 0.5 cores, that of plan small"},
		{store.Limits{Pids: 33}, "limit of 33 processes is above the ceiling of 32 processes, that of plan small"},
	} {
		err := policy.Check(plan, c.asked)
		e, ok := errors.AsType[*deploy.Error](err)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%+v: %v", c.asked, err)
		case c.want != "" && (!ok || e.Reason != deploy.AboveCeiling || !strings.Contains(e.Message, c.want) || e.Remedy == ""):
			t.Errorf("%+v: %v, want %s", c.asked, err, c.want)
		}
	}
	if err := (deploy.Policy{}).Check(store.Plan{}, store.Limits{MemoryBytes: 1 << 40, CPU: 1024, Pids: 32768}); err != nil {
		t.Errorf("no ceiling refuses: %v", err)
	}
}

func (f *fixture) putPlan(t *testing.T, plan store.Plan) {
	t.Helper()
	if err := f.store.PutPlan(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
}

func TestDeployAboveTheCeilingLeavesNothing(t *testing.T) {
	f := newFixture(t)
	f.putPlan(t, store.Plan{Name: store.DefaultPlan, Ceiling: store.Limits{Pids: 32}})
	r := request("resize", "one")
	r.Limits.Pids = 33
	if _, err := f.Deploy(t.Context(), r); reasonOf(err) != deploy.AboveCeiling {
		t.Fatalf("error %v", err)
	}
	if apis, _ := f.store.APIs(t.Context()); len(apis) > 0 || f.builder.calls > 0 {
		t.Fatal("something happened")
	}
}

// The owner's plan counts: whoever deploys a new version says nothing about its owner.
func TestTheCeilingIsTheOwners(t *testing.T) {
	f := newFixture(t)
	f.putPlan(t, store.Plan{Name: "small", Ceiling: store.Limits{CPU: 0.5}})
	ann, err := f.store.CreateUser(t.Context(), store.User{ID: "user_1", Name: "ann", Plan: "small"})
	if err != nil {
		t.Fatal(err)
	}
	r := request("resize", "one")
	r.UserID = ann.ID
	first := f.mustDeploy(t, r)
	again := request("resize", "two")
	again.Limits.CPU = 1
	if _, err := f.Deploy(t.Context(), again); reasonOf(err) != deploy.AboveCeiling {
		t.Fatalf("error %v", err)
	}
	if versions, _ := f.store.FindVersions(t.Context(), store.VersionFilter{APIID: first.API.ID}); len(versions) != 1 {
		t.Fatalf("versions %+v", versions)
	}
	f.mustDeploy(t, func() deploy.Request { r := request("other", "one"); r.Limits.CPU = 1; return r }())
	unknown := request("third", "one")
	unknown.UserID = "user_none"
	if _, err := f.Deploy(t.Context(), unknown); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("error %v", err)
	}
}

func TestAChangedPlanActsAtTheNextStart(t *testing.T) {
	f := newFixture(t)
	f.putPlan(t, store.Plan{Name: store.DefaultPlan, Limits: store.Limits{MemoryBytes: 200 << 20}})
	r := request("resize", "one")
	r.Limits.CPU = 2
	id := f.mustDeploy(t, r).API.ID
	builtin := sandbox.DefaultLimits
	want := sandbox.Limits{MemoryBytes: 200 << 20, CPU: 2, Pids: builtin.Pids}
	if got := f.sandboxes.serving[id].Limits; got != want {
		t.Fatalf("deployed with %+v", got)
	}
	f.putPlan(t, store.Plan{Name: store.DefaultPlan, Limits: store.Limits{Pids: 99}, Ceiling: store.Limits{CPU: 1}})
	spec, err := f.Source(t.Context(), id, 0)
	if want := (sandbox.Limits{MemoryBytes: 100 << 20, CPU: 1, Pids: 99}); err != nil || spec.Limits != want {
		t.Fatalf("started with %+v, %v", spec.Limits, err)
	}
	if v, _ := f.store.Version(t.Context(), id, 1); v.Limits != r.Limits {
		t.Fatalf("what was asked for became %+v", v.Limits)
	}
}
