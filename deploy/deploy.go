// Package deploy turns what an author hands in into a version that serves. One deploy adds a version to the store, builds
// or finds its environment, starts it in a sandbox beside the version that serves now, and moves traffic over once it
// answers. Whatever fails on the way leaves the serving version as it was:
//
//   - A first deploy that fails takes its API away again, so that the name is free and no key was ever handed out.
//   - A later deploy that fails stays in the list of versions as failed, with its reason and what its author should read.
//
// A new version has answered its probe before the store is told, and the store is told before traffic moves. So what serves
// is always what the store calls active, and a server that is killed between the two serves it after its restart.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	pythonenv "apibuilder/python-env"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// commitTimeout bounds the steps that a caller who went away no longer stops: the last ones of a deploy, and its undoing.
const commitTimeout = 60 * time.Second

// Builder makes environments; pythonenv.Builder is one.
type Builder interface {
	Ensure(ctx context.Context, r pythonenv.Request) (pythonenv.Environment, error)
	Lookup(key string) (pythonenv.Environment, bool)
	Lock(ctx context.Context, r pythonenv.Request) (string, error)
}

// Sandboxes runs versions; sandbox.Manager is one.
type Sandboxes interface {
	// Replace starts spec beside what runs of its API, calls commit once it answers, and then moves traffic to it. On any
	// error, a *sandbox.Exit when it does not start or what commit returned, what ran before goes on.
	Replace(ctx context.Context, spec sandbox.Spec, commit func(context.Context) error) (*sandbox.Instance, error)
	// Shift spreads requests over shares, starting versions of which nothing runs and calling commit once they answer.
	// Errors are those of Replace, and on any nothing has changed.
	Shift(ctx context.Context, apiID string, shares []sandbox.Share, commit func(context.Context) error) error
	// Remove ends what runs of an API that is gone and forgets about it; nil when nothing does.
	Remove(ctx context.Context, apiID string) error
}

// Deployer carries out deploys and deletions. It may be used concurrently: those of one API take turns, those of
// different APIs run side by side. Make one with New.
type Deployer struct {
	store     store.Store
	builder   Builder
	sandboxes Sandboxes
	policy    Policy
	node      string
	turns     turns
	known     known
	observe   func(Result, error)
}

// New returns a Deployer that grants limits by policy.
func New(st store.Store, builder Builder, sandboxes Sandboxes, policy Policy) *Deployer {
	return &Deployer{store: st, builder: builder, sandboxes: sandboxes, policy: policy}
}

// SetNode says as which node deploys are made: Recover ends what that node left unfinished. Call it before anything else.
func (d *Deployer) SetNode(id string) { d.node = id }

// Observe has fn called after every deploy with what Deploy returns. It must be quick. Call Observe before the first deploy.
func (d *Deployer) Observe(fn func(Result, error)) { d.observe = fn }

// Result is a deploy that succeeded.
type Result struct {
	API         store.API
	Version     int
	Created     bool   // the API is new
	Secret      string // the new API's key, told this once; empty when the API is public or was there before
	Routes      []sandbox.Route
	BuildTime   time.Duration
	StartTime   time.Duration
	Environment string // key of the environment
	Reused      bool   // the environment was there before
}

// Deploy makes r the version that serves and returns once it does. Errors that are the author's to mend are *Error; others
// are the operator's. When ctx ends first, the deploy fails as any other does.
func (d *Deployer) Deploy(ctx context.Context, r Request) (Result, error) {
	result, err := d.carryOut(ctx, r)
	if d.observe != nil {
		d.observe(result, err)
	}
	return result, err
}

func (d *Deployer) carryOut(ctx context.Context, r Request) (Result, error) {
	if err := r.Check(); err != nil {
		return Result{}, err
	}
	if err := d.checkOptions(r); err != nil {
		return Result{}, err
	}
	r, err := r.WithMetadata()
	if err != nil {
		return Result{}, err
	}
	name, err := d.resolve(ctx, r.Name)
	if err != nil {
		return Result{}, err
	}
	end, err := d.turns.take(ctx, name)
	if err != nil {
		return Result{}, canceled(err)
	}
	defer end()

	owner, err := d.owner(ctx, name, r)
	if err != nil {
		return Result{}, err
	}
	limits, err := d.admit(ctx, owner, r)
	if err != nil {
		return Result{}, err
	}
	api, created, err := d.claim(ctx, name, r)
	if err != nil {
		return Result{}, err
	}
	version := r.version(api.ID)
	version.Node = d.node
	version, err = d.store.AddVersion(ctx, version)
	if err == nil {
		var result Result
		if result, err = d.bring(ctx, api, version, created, r, limits); err == nil {
			return result, nil
		}
	}
	err = d.explain(ctx, err, limits)
	return Result{}, errors.Join(err, d.undo(ctx, api, version, created, err))
}

// resolve returns the name to deploy under. An id stands for its API's name, and only an API that exists has one.
func (d *Deployer) resolve(ctx context.Context, idOrName string) (string, error) {
	if store.ValidName(idOrName) == nil {
		return idOrName, nil
	}
	api, err := d.store.API(ctx, idOrName)
	if errors.Is(err, store.ErrNotFound) {
		return "", &Error{Reason: InvalidRequest, Message: store.ValidName(idOrName).Error(), Remedy: "choose another name"}
	}
	return api.Name, err
}

// owner returns the user whose plan counts: that of the API with this name, the request's when there is none yet.
func (d *Deployer) owner(ctx context.Context, name string, r Request) (string, error) {
	api, err := d.store.API(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return r.owner(), nil
	}
	return api.UserID, errors.Join(err, r.mayTouch(api))
}

// mayTouch returns an error for an API of somebody else.
func (r Request) mayTouch(api store.API) error {
	if !r.OwnOnly || api.ID == "" || api.UserID == r.owner() {
		return nil
	}
	return fmt.Errorf("%w: the name %q is taken", store.ErrConflict, api.Name)
}

// claim finds the API of that name or creates it.
func (d *Deployer) claim(ctx context.Context, name string, r Request) (api store.API, created bool, err error) {
	api, err = d.store.API(ctx, name)
	if !errors.Is(err, store.ErrNotFound) {
		return api, false, errors.Join(err, r.mayTouch(api))
	}
	if api, err = r.settle(store.API{ID: store.NewID("api"), Name: name, UserID: r.owner()}); err != nil {
		return store.API{}, false, err
	}
	made, err := d.store.CreateAPI(ctx, api)
	if errors.Is(err, store.ErrConflict) { // another node deploys it first as well: both are first deploys
		if made, err = d.store.API(ctx, name); err == nil {
			return made, made.ActiveVersion == 0, nil
		}
	}
	if err != nil {
		return store.API{}, false, fmt.Errorf("create API %s: %w", name, err)
	}
	return made, true, nil
}

// bring takes an added version all the way to traffic.
func (d *Deployer) bring(
	ctx context.Context, api store.API, v store.Version, created bool, r Request, limits store.Limits,
) (Result, error) {
	begin := time.Now()
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
	environment, err := d.builder.Ensure(ctx, pythonenv.Request{
		Requirements: v.Requirements, Python: v.Python, Lock: lock, Upgrade: r.Upgrade, Progress: r.Progress,
		Sdists: source,
	})
	if build, ok := errors.AsType[*pythonenv.BuildError](err); ok {
		return Result{}, r.explainBuild(build)
	}
	if err != nil {
		return Result{}, fmt.Errorf("build the environment: %w", err)
	}
	r.noteLazyImports(environment)
	result := Result{
		API: api, Version: v.Number, Created: created, BuildTime: time.Since(begin),
		Environment: environment.Key, Reused: environment.Reused,
	}
	r.progress("starting the program")
	v.State, v.Environment, v.Lock = store.VersionReady, environment.Key, environment.Lock
	settled, err = r.settle(api) // it starts with the settings that it will have
	if err != nil {
		return Result{}, err
	}
	spec, err := d.spec(ctx, settled, v, environment)
	if err != nil {
		return Result{}, err
	}
	committed := false
	instance, err := d.sandboxes.Replace(ctx, spec, func(ctx context.Context) error {
		err := d.commit(ctx, api, v, r, &result)
		if committed = err == nil; committed {
			d.known.keep(spec)
		}
		return err
	})
	switch {
	case err == nil:
		result.Routes, result.StartTime = instance.Routes(), instance.StartTime()
	case !committed:
		if exit, ok := errors.AsType[*sandbox.Exit](err); ok {
			return Result{}, ExplainStart(environment, v.Code, exit, limits)
		}
		return Result{}, fmt.Errorf("start the program: %w", err)
	default: // the server is stopping and will serve it when it is back
		r.progress("version %d will answer when the server is back", v.Number)
		return result, nil
	}
	r.progress("version %d answers", v.Number)
	if split := api.Split(); split != nil {
		r.progress("the split %s has ended: all requests go to version %d", store.SharesText(split), v.Number)
	}
	return result, nil
}

// commit tells the store of a version that answers. The caller's going away no longer matters here. Becoming active comes
// before becoming ready, because a version that is ready can no longer fail; Recover finishes what is killed in between.
func (d *Deployer) commit(ctx context.Context, before store.API, v store.Version, r Request, result *Result) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	after, err := r.settle(before)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(after, before) { // its options may hold lists
		if _, err := d.store.UpdateAPI(ctx, after); err != nil {
			return fmt.Errorf("change the API's settings: %w", err)
		}
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
		return errors.Join(fmt.Errorf("activate version %d: %w", v.Number, err), d.revert(ctx, before, v.Number))
	}
	after.ActiveVersion = v.Number
	result.API = after
	return nil
}

// revert gives an API back what a commit of that version changed before it failed, unless another node activated one
// meanwhile. An API that was created by this deploy is removed later.
func (d *Deployer) revert(ctx context.Context, before store.API, number int) error {
	now, err := d.store.API(ctx, before.ID)
	if err == nil && (now.ActiveVersion == number || now.ActiveVersion == before.ActiveVersion) {
		_, err = d.store.UpdateAPI(ctx, before)
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
	return d.store.UpdateVersion(ctx, v)
}

// hold waits for the turn of an API and returns it as it is then; end gives the turn up.
func (d *Deployer) hold(ctx context.Context, idOrName string) (api store.API, end func(), err error) {
	if api, err = d.store.API(ctx, idOrName); err != nil {
		return store.API{}, nil, err
	}
	if end, err = d.turns.take(ctx, api.Name); err != nil {
		return store.API{}, nil, canceled(err)
	}
	if api, err = d.store.API(ctx, api.ID); err != nil { // it may have changed while this waited
		end()
		return store.API{}, nil, err
	}
	return api, end, nil
}

// Delete removes an API with its versions and keys, then ends what runs of it; requests under way are given time to end.
// It wraps store.ErrNotFound when there is no such API.
func (d *Deployer) Delete(ctx context.Context, idOrName string) (store.API, error) {
	api, end, err := d.hold(ctx, idOrName)
	if err != nil {
		return store.API{}, err
	}
	defer end()
	if err := d.store.DeleteAPI(ctx, api.ID); err != nil {
		return store.API{}, fmt.Errorf("delete API %s: %w", api.Name, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	d.known.forget(api.ID)
	if err := d.sandboxes.Remove(ctx, api.ID); err != nil {
		return api, fmt.Errorf("end the sandbox of %s: %w", api.Name, err)
	}
	return api, nil
}
