package deploy

import (
	"context"
	"fmt"

	"apibuilder/sandbox"
	"apibuilder/store"
)

// CheckInstances returns an *Error when settings, as they are asked for, want more instances than the owner's plan allows. What
// an API has already is not looked at: it is cut without a word, see Plan.
func CheckInstances(plan store.Plan, asked map[string]string) error {
	o, err := ApplyOptions(store.Options{}, asked)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		option         string
		asked, ceiling int
	}{
		{"max-instances", o.MaxInstances, plan.Instances.Max},
		{"min-instances", o.MinInstances, plan.Instances.Max},
		{"min-instances", o.MinInstances, plan.Instances.Min},
	} {
		if c.ceiling != 0 && c.asked > c.ceiling {
			return &Error{
				Reason:  AboveCeiling,
				Message: fmt.Sprintf("option %s of %d is above the ceiling of %d, that of plan %s", c.option, c.asked, c.ceiling, plan.Name),
				Remedy:  fmt.Sprintf("set %s to at most that much, or ask the operator to raise the ceiling", c.option),
			}
		}
	}
	return nil
}

// CheckInstances is the function of that name.
func (d *Deployer) CheckInstances(plan store.Plan, asked map[string]string) error {
	return CheckInstances(plan, asked)
}

// scale is how many instances of an API run, cut to what its owner's plan allows. The plan is read only where that could
// matter, because whoever wakes an API waits for it.
func (d *Deployer) scale(ctx context.Context, api store.API) (sandbox.Scale, error) {
	o := api.Options
	s := sandbox.Scale{
		Min: o.MinInstances, Max: o.MaxInstances, Target: o.ConcurrencyTarget, Isolated: o.Isolation == store.IsolateRequests,
		Drain: o.DrainTimeout,
	}
	if s.Min == 0 && s.Max <= 1 && !s.Isolated {
		return s, nil
	}
	plan, err := d.plan(ctx, api.UserID)
	if err != nil {
		return sandbox.Scale{}, err
	}
	return cut(s, plan.Instances), nil
}

func cut(s sandbox.Scale, ceiling store.Instances) sandbox.Scale {
	if ceiling.Min != 0 {
		s.Min = min(s.Min, ceiling.Min)
	}
	if ceiling.Max == 0 {
		return s
	}
	if s.Max == 0 && s.Isolated {
		s.Max = sandbox.DefaultIsolated
	}
	s.Min, s.Max = min(s.Min, ceiling.Max), min(s.Max, ceiling.Max)
	return s
}
