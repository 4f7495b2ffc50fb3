package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	pythonenv "apibuilder/python-env"
	"apibuilder/sandbox"
	"apibuilder/store"
)

const (
	// readTimeout bounds the reading of what to run, and knownWait that of what ran before and did not change: consumers wait for it.
	readTimeout = 10 * time.Second
	knownWait   = 500 * time.Millisecond
)

// Source says what to run for a version of an API, with the environment built again should it be missing; version 0 is the
// active one. It is what a sandbox.Manager asks after a restart or a crash. It wraps store.ErrNotFound when there is no such
// API or version, and returns a *sandbox.Exit when there is nothing of it to run. While the store is away, what ran before
// is what to run.
func (d *Deployer) Source(ctx context.Context, apiID string, version int) (sandbox.Spec, error) {
	changes, patience := d.known.changes(apiID), readTimeout
	if d.known.isNew(apiID, version) {
		patience = knownWait
	}
	spec, err := d.source(ctx, apiID, version, patience)
	switch {
	case err == nil:
		d.known.keep(spec, changes)
	case errors.Is(err, store.ErrNotFound):
		d.known.forget(apiID)
	case errors.Is(err, store.ErrUnavailable) && ctx.Err() == nil:
		if last, ok := d.known.find(apiID, version); ok {
			return last, nil
		}
	}
	return spec, err
}

// Changed says that an API, what runs of it or under what plan may have changed; an empty name says so of every API. What is known is not
// used then before the store had time to tell. It returns at once, and may be called concurrently.
func (d *Deployer) Changed(apiID string) { d.known.changed(apiID) }

func (d *Deployer) source(ctx context.Context, apiID string, number int, patience time.Duration) (sandbox.Spec, error) {
	turn := d.sandboxes.EgressTurn()
	api, version, plan, err := d.read(ctx, apiID, number, patience)
	if err != nil {
		return sandbox.Spec{}, err
	}
	environment, err := d.environment(ctx, version)
	if err != nil {
		return sandbox.Spec{}, err
	}
	return d.specUnder(ctx, plan, api, version, environment, turn)
}

// read reads what to run of an API, and the plan that it runs under.
func (d *Deployer) read(
	outer context.Context, apiID string, number int, patience time.Duration,
) (api store.API, v store.Version, plan store.Plan, err error) {
	ctx, cancel := context.WithTimeout(outer, patience)
	defer cancel()
	defer func() { err = late(ctx, outer, err) }()
	api, err = d.deployed(ctx, apiID)
	if err != nil {
		return api, v, plan, err
	}
	number = cmp.Or(number, api.ActiveVersion)
	if v, err = d.store.Version(ctx, api.ID, number); err != nil {
		return api, v, plan, fmt.Errorf("read version %d of %s: %w", number, api.Name, err)
	}
	plan, err = d.plan(ctx, api.UserID)
	return api, v, plan, err
}

// late turns the end of ctx, which began after outer, into an error: a store that does not answer in time is as good as one
// that cannot be reached.
func late(ctx, outer context.Context, err error) error {
	if err != nil && outer.Err() == nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return err
}

// deployed finds an API of which a version is active.
func (d *Deployer) deployed(ctx context.Context, apiID string) (store.API, error) {
	api, err := d.store.API(ctx, apiID)
	if err == nil && api.ActiveVersion == 0 {
		return api, &sandbox.Exit{Reason: NotDeployed, API: api.ID, Detail: "no version of it ever started"}
	}
	return api, err
}

// environment finds a version's environment, or builds it again from the version's lock.
func (d *Deployer) environment(ctx context.Context, v store.Version) (pythonenv.Environment, error) {
	if environment, ok := d.builder.Lookup(v.Environment); ok {
		return environment, nil
	}
	begin := time.Now()
	if exit := d.unbuilt.check(v, begin); exit != nil {
		return pythonenv.Environment{}, exit
	}
	environment, err := d.builder.Ensure(ctx, pythonenv.Request{
		Requirements: v.Requirements, Python: v.Python, Lock: v.Lock,
	})
	if build, ok := errors.AsType[*pythonenv.BuildError](err); ok {
		d.say(v.APIID, v.Number, EventNotBuilt, "the environment of version %d was gone, and cannot be built again: %s", v.Number, build.Message)
		exit := sandbox.Exit{Reason: sandbox.SandboxFailed, API: v.APIID, Version: v.Number, Detail: build.Message + "\n" + build.Output}
		return environment, d.unbuilt.failed(v, time.Now(), time.Since(begin), exit)
	}
	if err != nil {
		return environment, fmt.Errorf("build the environment of %s version %d again: %w", v.APIID, v.Number, err)
	}
	d.sayBuilt(v, environment, time.Since(begin), true)
	v.Environment, v.Lock, v.State = environment.Key, environment.Lock, "" // whatever it is by now
	return environment, d.store.UpdateVersion(ctx, v)
}

// spec is what the sandbox of a version is made from, of an API that was read after a turn of the sandboxes. Its limits are those of now: a
// plan that was changed acts at the next start.
func (d *Deployer) spec(
	ctx context.Context, api store.API, v store.Version, environment pythonenv.Environment, turn uint64,
) (sandbox.Spec, error) {
	plan, err := d.plan(ctx, api.UserID)
	if err != nil {
		return sandbox.Spec{}, err
	}
	return d.specUnder(ctx, plan, api, v, environment, turn)
}

func (d *Deployer) specUnder(
	ctx context.Context, plan store.Plan, api store.API, v store.Version, environment pythonenv.Environment, turn uint64,
) (sandbox.Spec, error) {
	dir, err := d.filesOf(ctx, v)
	if err != nil {
		return sandbox.Spec{}, err
	}
	return sandbox.Spec{
		API:         api.ID,
		Version:     v.Number,
		Code:        v.Code,
		Files:       dir,
		Entry:       v.Entry,
		RootPath:    "/run/" + api.ID,
		Environment: environment.Path,
		Python:      environment.Interpreter.Path,
		Mounts:      environment.Interpreter.Mounts,
		Env:         v.Env,
		Limits:      sandboxLimits(d.Grant(plan, v.Limits).Limits),
		Egress:      EgressOf(api.Options),
		EgressTurn:  turn,
		Health: sandbox.Health{
			Path: api.Options.HealthPath, Interval: api.Options.HealthInterval, Timeout: api.Options.HealthTimeout,
			Failures: api.Options.HealthFailures,
		},
	}, nil
}
