package deploy

import (
	"context"
	"errors"
	"fmt"

	pythonenv "apibuilder/python-env"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// Source says what to run for an API: its active version, with the environment built again should it be missing. It is
// what a sandbox.Manager asks after a restart or a crash. It wraps store.ErrNotFound when there is no such API, and
// returns a *sandbox.Exit when there is nothing of it to run.
func (d *Deployer) Source(ctx context.Context, apiID string) (sandbox.Spec, error) {
	api, err := d.store.API(ctx, apiID)
	if err != nil {
		return sandbox.Spec{}, err
	}
	if api.ActiveVersion == 0 {
		return sandbox.Spec{}, &sandbox.Exit{Reason: NotDeployed, API: api.ID, Detail: "no version of it ever started"}
	}
	version, err := d.store.Version(ctx, api.ID, api.ActiveVersion)
	if err != nil {
		return sandbox.Spec{}, fmt.Errorf("read version %d of %s: %w", api.ActiveVersion, api.Name, err)
	}
	environment, err := d.environment(ctx, version)
	if err != nil {
		return sandbox.Spec{}, err
	}
	return d.spec(ctx, api, version, environment)
}

// environment finds a version's environment, or builds it again from the version's lock.
func (d *Deployer) environment(ctx context.Context, v store.Version) (pythonenv.Environment, error) {
	if environment, ok := d.builder.Lookup(v.Environment); ok {
		return environment, nil
	}
	environment, err := d.builder.Ensure(ctx, pythonenv.Request{
		Requirements: v.Requirements, Python: v.Python, Lock: v.Lock,
	})
	if build, ok := errors.AsType[*pythonenv.BuildError](err); ok {
		return environment, &sandbox.Exit{
			Reason: sandbox.SandboxFailed, API: v.APIID, Version: v.Number, Detail: build.Message + "\n" + build.Output,
		}
	}
	if err != nil {
		return environment, fmt.Errorf("build the environment of %s version %d again: %w", v.APIID, v.Number, err)
	}
	v.Environment, v.Lock = environment.Key, environment.Lock
	return environment, d.store.UpdateVersion(ctx, v)
}

// spec is what the sandbox of a version is made from. Its limits are those of now: a plan that was changed acts at the
// next start.
func (d *Deployer) spec(
	ctx context.Context, api store.API, v store.Version, environment pythonenv.Environment,
) (sandbox.Spec, error) {
	plan, err := d.plan(ctx, api.UserID)
	if err != nil {
		return sandbox.Spec{}, err
	}
	return sandbox.Spec{
		API:         api.ID,
		Version:     v.Number,
		Code:        v.Code,
		RootPath:    "/run/" + api.ID,
		Environment: environment.Path,
		Python:      environment.Interpreter.Path,
		Mounts:      environment.Interpreter.Mounts,
		Env:         v.Env,
		Limits:      sandboxLimits(d.Grant(plan, v.Limits).Limits),
	}, nil
}

// Recover puts in order what a server that was killed left half done: a version that was being built is marked failed,
// and an API whose first deploy that was is taken away, as if the deploy had failed. Call it before the first Deploy. It
// returns how many deploys it ended.
func (d *Deployer) Recover(ctx context.Context) (int, error) {
	apis, err := d.store.APIs(ctx)
	if err != nil {
		return 0, fmt.Errorf("list the APIs: %w", err)
	}
	count := 0
	for _, api := range apis {
		ended, err := d.recoverAPI(ctx, api)
		if err != nil {
			return count, fmt.Errorf("put API %s in order: %w", api.Name, err)
		}
		count += ended
	}
	return count, nil
}

func (d *Deployer) recoverAPI(ctx context.Context, api store.API) (ended int, err error) {
	versions, err := d.store.Versions(ctx, api.ID)
	if err != nil {
		return 0, err
	}
	for _, v := range versions {
		if v.State != store.VersionBuilding {
			continue
		}
		if v.Number == api.ActiveVersion { // killed in the last step of a deploy
			v.State = store.VersionReady
		} else {
			v.State, v.Failure, v.Detail = store.VersionFailed, Interrupted, "the server stopped during the build"
			ended++
		}
		if err := d.store.UpdateVersion(ctx, v); err != nil {
			return ended, err
		}
	}
	if ended > 0 && api.ActiveVersion == 0 {
		return ended, errors.Join(d.store.DeleteAPI(ctx, api.ID), d.sandboxes.Remove(ctx, api.ID))
	}
	return ended, nil
}
