package admin_test

import (
	"net/http"
	"testing"

	"apibuilder/admin"
	"apibuilder/store"
)

func TestAPlanIsPatchedAndPut(t *testing.T) {
	f := newFixture(t)
	const path = "/api/v1/plans/pro"
	limits := func(memory int64, cpu float64, pids int) admin.Limits {
		return admin.Limits{MemoryBytes: memory, CPU: cpu, Pids: pids}
	}
	for _, step := range []struct {
		method, body string
		want         admin.Plan
	}{
		{"PATCH", `{"limits":{"memory_bytes":104857600},"ceiling":{"cpu":2}}`, admin.Plan{
			Limits: limits(100<<20, 0, 0), Ceiling: limits(0, 2, 0),
		}},
		{"PATCH", `{"rate":{"requests":2,"seconds":1},"limits":{"cpu":0.5,"pids":20}}`, admin.Plan{
			Rate: &admin.Rate{Requests: 2, Seconds: 1}, Limits: limits(100<<20, 0.5, 20), Ceiling: limits(0, 2, 0),
		}},
		{"PATCH", `{"rate":{"requests":0,"seconds":0},"limits":{"memory_bytes":0},"ceiling":{"pids":20}}`, admin.Plan{
			Limits: limits(0, 0.5, 20), Ceiling: limits(0, 2, 20),
		}},
		{"PATCH", `{"instances":{"max":4,"min":1}}`, admin.Plan{
			Limits: limits(0, 0.5, 20), Ceiling: limits(0, 2, 20), Instances: admin.Instances{Max: 4, Min: 1},
		}},
		{"PATCH", `{"instances":{"min":0}}`, admin.Plan{
			Limits: limits(0, 0.5, 20), Ceiling: limits(0, 2, 20), Instances: admin.Instances{Max: 4},
		}},
		{"PUT", `{"rate":null,"ceiling":{"memory_bytes":1073741824}}`, admin.Plan{Ceiling: limits(1<<30, 0, 0)}},
	} {
		got := decode[admin.Plan](t, f.local(t, step.method, path, step.body))
		step.want.Name = "pro"
		if got.Limits != step.want.Limits || got.Ceiling != step.want.Ceiling || (got.Rate == nil) != (step.want.Rate == nil) ||
			got.Instances != step.want.Instances {
			t.Fatalf("%s %s: %+v", step.method, step.body, got)
		}
		stored, err := f.store.Plan(t.Context(), "pro")
		if err != nil || stored.Limits != store.Limits(step.want.Limits) || stored.Ceiling != store.Limits(step.want.Ceiling) ||
			stored.Rate.Unlimited() != (step.want.Rate == nil) || stored.Instances != store.Instances(step.want.Instances) {
			t.Fatalf("%s %s: stored %+v, %v", step.method, step.body, stored, err)
		}
	}
	for body, word := range map[string]string{
		`{"limits":{"memory_bytes":1}}`:                    "invalid_request",
		`{"ceiling":{"pids":-1}}`:                          "invalid_request",
		`{"limits":{"memory_bytes":2147483648}}`:           "bad_request", // above the ceiling that is there
		`{"limits":{"cpu":2},"ceiling":{"cpu":1}}`:         "bad_request",
		`{"instances":{"max":-1}}`:                         "bad_request",
		`{"limits":{"memory":"1G"}}`:                       "bad_request",
		`{"rate":{"requests":-1,"seconds":1},"limits":{}}`: "bad_request",
	} {
		wantProblem(t, f.local(t, "PATCH", path, body), http.StatusBadRequest, word)
	}
	wantProblem(t, f.local(t, "PATCH", "/api/v1/plans/No", `{}`), http.StatusBadRequest, "bad_request")
}

func TestAPlanBoundsWhatAnAPIIsSetTo(t *testing.T) {
	f := newFixture(t)
	f.api(t, "resize")
	plan := store.Plan{Name: store.DefaultPlan, Instances: store.Instances{Max: 2}}
	if err := f.store.PutPlan(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	const path = "/api/v1/apis/resize"
	wantProblem(t, f.local(t, "PATCH", path, `{"options":{"max-instances":"3"}}`), http.StatusForbidden, "above_ceiling")
	got := decode[admin.API](t, f.local(t, "PATCH", path, `{"options":{"max-instances":"2"}}`))
	if got.Options["max-instances"] != "2" {
		t.Fatalf("%+v", got.Options)
	}
	// A bound that came later stands in the way of nothing else.
	plan.Instances.Max = 1
	if err := f.store.PutPlan(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	decode[admin.API](t, f.local(t, "PATCH", path, `{"options":{"request-timeout":"9s"}}`))
}

func TestAnAPIShowsWhereItsLimitsComeFrom(t *testing.T) {
	f := newFixture(t)
	api := f.api(t, "resize")
	for _, asked := range []store.Limits{{CPU: 4}, {CPU: 0.5}} {
		v, err := f.store.AddVersion(t.Context(), store.Version{APIID: api.ID, Code: "c", Limits: asked, State: store.VersionReady})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.store.Activate(t.Context(), api.ID, v.Number); err != nil {
			t.Fatal(err)
		}
	}
	plan := store.Plan{
		Name: store.DefaultPlan, Limits: store.Limits{MemoryBytes: 1 << 30}, Ceiling: store.Limits{CPU: 2, MemoryBytes: 1 << 29},
	}
	if err := f.store.PutPlan(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	got := decode[admin.API](t, f.local(t, "GET", "/api/v1/apis/resize", ""))
	want := admin.Origins{Memory: "plan_ceiling", CPU: "version", Pids: "default"}
	if *got.Limits != (admin.Limits{MemoryBytes: 1 << 29, CPU: 0.5, Pids: 77}) || *got.LimitOrigins != want || got.Plan != plan.Name {
		t.Fatalf("%+v %+v %s", got.Limits, got.LimitOrigins, got.Plan)
	}
	if old := got.Versions[1].Limits; old.CPU != 2 {
		t.Fatalf("the older version would start with %+v", old)
	}
}
