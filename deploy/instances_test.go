package deploy_test

import (
	"errors"
	"strings"
	"testing"

	"apibuilder/deploy"
	"apibuilder/sandbox"
	"apibuilder/store"
)

func TestAPlanBoundsInstances(t *testing.T) {
	plan := store.Plan{Name: "small", Instances: store.Instances{Max: 4, Min: 2}}
	for name, c := range map[string]struct {
		plan  store.Plan
		asked map[string]string
		want  string // of the message; empty: it is allowed
	}{
		"no bound":          {store.Plan{Name: "free"}, map[string]string{"max-instances": "100", "min-instances": "100"}, ""},
		"at the bound":      {plan, map[string]string{"max-instances": "4", "min-instances": "2"}, ""},
		"nothing is asked":  {plan, map[string]string{"isolation": "request"}, ""},
		"more at most":      {plan, map[string]string{"max-instances": "5"}, "option max-instances of 5 is above the ceiling of 4, that of plan small"},
		"more always":       {plan, map[string]string{"min-instances": "3"}, "option min-instances of 3 is above the ceiling of 2"},
		"always above most": {store.Plan{Name: "p", Instances: store.Instances{Max: 1}}, map[string]string{"min-instances": "2"}, "option min-instances of 2 is above the ceiling of 1"},
		"taken back":        {plan, map[string]string{"max-instances": ""}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := deploy.CheckInstances(c.plan, c.asked)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			above, ok := errors.AsType[*deploy.Error](err)
			if !ok || above.Reason != deploy.AboveCeiling || !strings.Contains(above.Message, c.want) || above.Remedy == "" {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// What an API had before its plan was bounded is cut at its next reading.
func TestInstancesAreCutToThePlan(t *testing.T) {
	f := newFixture(t)
	api := f.mustDeploy(t, request("many", "c")).API
	for _, c := range []struct {
		options store.Options
		bounds  store.Instances
		want    sandbox.Scale
	}{
		{store.Options{MinInstances: 3, MaxInstances: 9}, store.Instances{}, sandbox.Scale{Min: 3, Max: 9}},
		{store.Options{MinInstances: 3, MaxInstances: 9}, store.Instances{Max: 5}, sandbox.Scale{Min: 3, Max: 5}},
		{store.Options{MinInstances: 3, MaxInstances: 9}, store.Instances{Max: 2}, sandbox.Scale{Min: 2, Max: 2}},
		{store.Options{MinInstances: 3, MaxInstances: 9}, store.Instances{Min: 1}, sandbox.Scale{Min: 1, Max: 9}},
		{store.Options{MinInstances: 3}, store.Instances{Max: 2}, sandbox.Scale{Min: 2}},
		{store.Options{Isolation: store.IsolateRequests}, store.Instances{Max: 2}, sandbox.Scale{Max: 2, Isolated: true}},
		{store.Options{Isolation: store.IsolateRequests}, store.Instances{Max: 50}, sandbox.Scale{Max: sandbox.DefaultIsolated, Isolated: true}},
		{store.Options{}, store.Instances{Max: 2}, sandbox.Scale{}},
	} {
		api.Options = c.options
		var err error
		if api, err = f.store.UpdateAPI(t.Context(), api); err != nil {
			t.Fatal(err)
		}
		if err := f.store.PutPlan(t.Context(), store.Plan{Name: store.DefaultPlan, Instances: c.bounds}); err != nil {
			t.Fatal(err)
		}
		plan, err := f.Plan(t.Context(), api.ID)
		if err != nil || plan.Scale != c.want {
			t.Errorf("%+v under %+v: %+v, %v, want %+v", c.options, c.bounds, plan.Scale, err, c.want)
		}
	}
	// A deploy that asks for more makes nothing.
	if err := f.store.PutPlan(t.Context(), store.Plan{Name: store.DefaultPlan, Instances: store.Instances{Max: 2}}); err != nil {
		t.Fatal(err)
	}
	_, err := f.Deploy(t.Context(), deploy.Request{Name: "more", Code: "c", Options: map[string]string{"max-instances": "3"}})
	if above, ok := errors.AsType[*deploy.Error](err); !ok || above.Reason != deploy.AboveCeiling {
		t.Errorf("a deploy above the ceiling: %v", err)
	}
	if _, err := f.store.API(t.Context(), "more"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("it left an API: %v", err)
	}
}
