package deploy

import (
	"context"
	"fmt"
	"strconv"

	"apibuilder/sandbox"
	"apibuilder/store"
)

// Policy is what the operator grants to the APIs of every plan. Its zero value has the defaults of sandbox.DefaultLimits
// and no ceiling.
type Policy struct {
	Defaults store.Limits // where neither version nor plan says anything
	Ceiling  store.Limits // the most that anybody gets; a zero field is no bound
	Outside  Outside      // what options may let anybody reach; nil: not checked
}

// Origin says why a limit is what it is.
type Origin string

// The origins. The first three are asked in this order; a ceiling cuts what they say.
const (
	FromVersion       Origin = "version" // its deploy asked for it
	FromPlan          Origin = "plan"
	FromDefault       Origin = "default"
	FromPlanCeiling   Origin = "plan_ceiling"
	FromServerCeiling Origin = "server_ceiling"
)

// Origins are those of the limits in a Grant.
type Origins struct{ Memory, CPU, Pids Origin }

// Grant is what a sandbox gets: limits without a zero field, and where each comes from.
type Grant struct {
	Limits  store.Limits
	Origins Origins
}

// Grant returns what an API of a plan's user gets at its next start when its version asked for so much.
func (p Policy) Grant(plan store.Plan, asked store.Limits) Grant {
	var g Grant
	d := sandboxLimits(p.Defaults).Or(sandbox.DefaultLimits)
	g.Limits.MemoryBytes, g.Origins.Memory = settle(asked.MemoryBytes, plan.Limits.MemoryBytes, d.MemoryBytes,
		plan.Ceiling.MemoryBytes, p.Ceiling.MemoryBytes)
	g.Limits.CPU, g.Origins.CPU = settle(asked.CPU, plan.Limits.CPU, d.CPU, plan.Ceiling.CPU, p.Ceiling.CPU)
	g.Limits.Pids, g.Origins.Pids = settle(asked.Pids, plan.Limits.Pids, d.Pids, plan.Ceiling.Pids, p.Ceiling.Pids)
	return g
}

// settle takes the first value that is set and cuts it.
func settle[N int | int64 | float64](asked, plan, fallback, planCeiling, serverCeiling N) (N, Origin) {
	value, origin := fallback, FromDefault
	switch {
	case asked != 0:
		value, origin = asked, FromVersion
	case plan != 0:
		value, origin = plan, FromPlan
	}
	ceiling, lower := lowest(planCeiling, serverCeiling)
	if ceiling != 0 && value > ceiling {
		return ceiling, lower
	}
	return value, origin
}

// lowest returns the ceiling that counts, 0 when there is none. A plan is never above the server's.
func lowest[N int | int64 | float64](plan, server N) (N, Origin) {
	if plan != 0 && (server == 0 || plan <= server) {
		return plan, FromPlanCeiling
	}
	return server, FromServerCeiling
}

// Check returns an *Error when a version asks for more than its plan or the server allows. What is asked for is checked,
// not what results: a default above a ceiling is cut without a word, because nobody asked for it.
func (p Policy) Check(plan store.Plan, asked store.Limits) error {
	if err := exceeds("a memory limit", asked.MemoryBytes, plan.Ceiling.MemoryBytes, p.Ceiling.MemoryBytes,
		plan.Name, "--memory", sizeText); err != nil {
		return err
	}
	if err := exceeds("a CPU limit", asked.CPU, plan.Ceiling.CPU, p.Ceiling.CPU, plan.Name, "--cpu", coresText); err != nil {
		return err
	}
	err := exceeds("a limit", asked.Pids, plan.Ceiling.Pids, p.Ceiling.Pids, plan.Name, "--pids", processesText)
	if err != nil {
		return err
	}
	return nil
}

func exceeds[N int | int64 | float64](
	what string, asked, planCeiling, serverCeiling N, plan, flag string, text func(N) string,
) *Error {
	ceiling, origin := lowest(planCeiling, serverCeiling)
	if ceiling == 0 || asked <= ceiling {
		return nil
	}
	whose := "the server's"
	if origin == FromPlanCeiling {
		whose = "that of plan " + plan
	}
	return &Error{
		Reason:  AboveCeiling,
		Message: fmt.Sprintf("%s of %s is above the ceiling of %s, %s", what, text(asked), text(ceiling), whose),
		Remedy:  fmt.Sprintf("give %s at most that much, or ask the operator to raise the ceiling", flag),
	}
}

func sizeText(bytes int64) string {
	if bytes%(1<<20) == 0 {
		return strconv.FormatInt(bytes>>20, 10) + " MiB"
	}
	return strconv.FormatInt(bytes, 10) + " bytes"
}

func coresText(cores float64) string { return strconv.FormatFloat(cores, 'g', -1, 64) + " cores" }

func processesText(n int) string { return strconv.Itoa(n) + " processes" }

// Grant is Policy.Grant under the server's policy.
func (d *Deployer) Grant(plan store.Plan, asked store.Limits) Grant {
	return d.policy.Grant(plan, asked)
}

// plan reads the plan of a user, the owner of an API.
func (d *Deployer) plan(ctx context.Context, userID string) (store.Plan, error) {
	user, err := d.store.User(ctx, userID)
	if err != nil {
		return store.Plan{}, fmt.Errorf("find the owner's plan: %w", err)
	}
	plan, err := d.store.Plan(ctx, user.Plan)
	if err != nil {
		return store.Plan{}, fmt.Errorf("find the owner's plan: %w", err)
	}
	return plan, nil
}

// admit refuses a request that asks for more than the owner's plan allows, before anything is made. It returns what the
// program will run with.
func (d *Deployer) admit(ctx context.Context, owner string, r Request) (store.Limits, error) {
	plan, err := d.plan(ctx, owner)
	if err != nil {
		return store.Limits{}, err
	}
	if err := CheckInstances(plan, r.Options); err != nil {
		return store.Limits{}, err
	}
	return d.Grant(plan, r.Limits).Limits, d.policy.Check(plan, r.Limits)
}

func sandboxLimits(l store.Limits) sandbox.Limits {
	return sandbox.Limits{MemoryBytes: l.MemoryBytes, CPU: l.CPU, Pids: l.Pids}
}
