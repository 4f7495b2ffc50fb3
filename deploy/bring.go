package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"

	pythonenv "apibuilder/python-env"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// commitTimeout bounds the steps that a caller who went away no longer stops: the last ones of a deploy, and its undoing.
const commitTimeout = 60 * time.Second

// bring takes an added version all the way to traffic.
func (d *Deployer) bring(
	ctx context.Context, api store.API, v store.Version, created bool, r Request, limits store.Limits,
) (Result, error) {
	begin := time.Now()
	r = d.kept(r, api.ID, v.Number)
	r.progress("building the environment of %s version %d", api.Name, v.Number)
	settled, err := r.settle(api)
	if err != nil {
		return Result{}, err
	}
	source := sdists(settled)
	lock, err := d.keptLock(ctx, api, r, source)
	if err != nil {
		return Result{}, err
	}
	building, end := d.span(ctx, "build environment")
	environment, err := d.builder.Ensure(building, pythonenv.Request{
		Requirements: v.Requirements, Python: v.Python, Lock: lock, Upgrade: r.Upgrade, Progress: r.Progress,
		Sdists: source,
	})
	end(err, attribute.String("apibuilder.environment", environment.Key), attribute.Bool("apibuilder.environment.reused", environment.Reused))
	if build, ok := errors.AsType[*pythonenv.BuildError](err); ok {
		return Result{}, r.explainBuild(build)
	}
	if err != nil {
		return Result{}, fmt.Errorf("build the environment: %w", err)
	}
	d.sayBuilt(v, environment, time.Since(begin), false)
	r.noteLazyImports(environment)
	result := Result{
		API: api, Version: v.Number, Created: created, BuildTime: time.Since(begin),
		Environment: environment.Key, Reused: environment.Reused,
	}
	r.progress("starting the program")
	v.State, v.Environment, v.Lock = store.VersionReady, environment.Key, environment.Lock
	changes := d.known.changes(api.ID)
	spec, err := d.specOfNow(ctx, r, v, environment)
	if err != nil {
		return Result{}, err
	}
	committed := false
	starting, end := d.span(ctx, "start version")
	instance, err := d.sandboxes.Replace(starting, spec, func(ctx context.Context) error {
		known := spec
		known.EgressTurn = cmp.Or(spec.EgressTurn, d.sandboxes.EgressTurn())
		err := d.commit(ctx, api, v, r, &result)
		if committed = err == nil; committed {
			d.known.keep(known, changes)
		}
		return err
	})
	end(err)
	switch {
	case err == nil:
		result.Routes, result.StartTime = instance.Routes(), instance.StartTime()
	case !committed:
		if exit, ok := errors.AsType[*sandbox.Exit](err); ok {
			return Result{}, ExplainStart(environment, r, exit, limits)
		}
		return Result{}, fmt.Errorf("start the program: %w", err)
	default: // the server is stopping and will serve it when it is back
		r.progress("version %d will answer when the server is back", v.Number)
		return result, nil
	}
	r.progress("version %d answers", v.Number)
	d.say(api.ID, v.Number, EventDeployed, "version %d serves: it started in %v", v.Number, result.StartTime.Round(time.Millisecond))
	if split := api.Split(); split != nil {
		r.progress("the split %s has ended: all requests go to version %d", store.SharesText(split), v.Number)
	}
	return result, nil
}

// specOfNow is what a version starts with: the settings that it will have, which are the request's and what others changed while the
// environment was built. A policy that the request changes holds from the start on, and is in no store yet that could say something newer.
func (d *Deployer) specOfNow(
	ctx context.Context, r Request, v store.Version, environment pythonenv.Environment,
) (sandbox.Spec, error) {
	turn := d.sandboxes.EgressTurn()
	now, err := d.store.API(ctx, v.APIID)
	if err != nil {
		return sandbox.Spec{}, fmt.Errorf("read the settings of API %s again: %w", v.APIID, err)
	}
	settled, err := r.settle(now)
	if err != nil {
		return sandbox.Spec{}, err
	}
	if settled.Options.Egress != now.Options.Egress {
		turn = 0
	}
	return d.spec(ctx, settled, v, environment, turn)
}

// commit tells the store of a version that answers. The caller's going away no longer matters here. Becoming active comes
// before becoming ready, because a version that is ready can no longer fail; Recover finishes what is killed in between.
func (d *Deployer) commit(ctx context.Context, before store.API, v store.Version, r Request, result *Result) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if r.Still != nil {
		if err := r.Still(ctx); err != nil {
			return err
		}
	}
	after, undo, err := d.changeSettings(ctx, before, r)
	if err != nil {
		d.leaveSettings(before, v, undo, err) // they may be changed all the same
		return err
	}
	err = d.makeKey(ctx, after, result)
	if err == nil { // the lock first: another node may start it as soon as it is active
		locked := v
		locked.State = ""
		err = d.store.UpdateVersion(ctx, locked)
	}
	if err == nil {
		err = d.activate(ctx, after, v.Number)
	}
	if err == nil {
		err = d.store.UpdateVersion(ctx, v)
	}
	if err != nil {
		reverted := d.revert(ctx, before, undo, v.Number)
		d.leaveSettings(before, v, undo, reverted)
		return errors.Join(fmt.Errorf("activate version %d: %w", v.Number, err), reverted)
	}
	after.ActiveVersion = v.Number
	result.API = after
	return nil
}

// revert gives an API back what a commit of that version changed before it failed, unless another node activated one
// meanwhile. An API that was created by this deploy is removed later.
func (d *Deployer) revert(ctx context.Context, before store.API, undo settingsChange, number int) error {
	now, err := d.store.API(ctx, before.ID)
	if err == nil && (now.ActiveVersion == number || now.ActiveVersion == before.ActiveVersion) {
		_, err = d.store.ChangeAPI(ctx, before.ID, func(now store.API) (store.API, error) { return undo.takeBack(now), nil })
	}
	if err == nil && now.ActiveVersion == number {
		_, err = d.store.Reactivate(ctx, before.ID, number, before.ActiveVersion)
	}
	return err
}

// makeKey gives a new API that is not public its first key.
func (d *Deployer) makeKey(ctx context.Context, api store.API, result *Result) error {
	if !result.Created || api.Public {
		return nil
	}
	secret, prefix, hash := store.NewSecret(store.KeySecretPrefix)
	key := store.Key{ID: store.NewID("key"), APIID: api.ID, Name: "first", Prefix: prefix, Hash: hash}
	if _, err := d.store.CreateKey(ctx, key); err != nil {
		return fmt.Errorf("create the first key: %w", err)
	}
	result.Secret = secret
	return nil
}

// undo leaves nothing half done: no API that this deploy created, and no version that looks as if it were still building.
func (d *Deployer) undo(ctx context.Context, api store.API, v store.Version, created bool, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if created {
		switch gone, err := d.store.AbandonAPI(ctx, api.ID, v.Number); {
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		case gone, err != nil:
			return d.sandboxes.Remove(ctx, api.ID)
		}
		// Another node deploys under the same name: the API stays, and this version is one that failed.
	}
	if v.Number == 0 {
		return nil
	}
	v.State, v.Failure, v.Detail = store.VersionFailed, string(Internal), "the operator finds the reason in the server's log"
	if e, ok := errors.AsType[*Error](cause); ok {
		v.Failure, v.Detail = e.Reason, e.text()
	}
	err := d.store.UpdateVersion(ctx, v)
	if errors.Is(err, store.ErrNotFound) {
		return d.forgetGone(ctx, api.ID)
	}
	return err
}

// forgetGone drops what is kept here of an API that another node deleted while this one started a version of it: what it printed since.
func (d *Deployer) forgetGone(ctx context.Context, apiID string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if _, err := d.store.API(ctx, apiID); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return d.sandboxes.Remove(ctx, apiID)
}
