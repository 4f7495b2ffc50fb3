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
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	pythonenv "apibuilder/python-env"
	"apibuilder/sandbox"
	"apibuilder/store"
)

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
	// EgressTurn is taken before a Spec's policy is read, for its EgressTurn.
	EgressTurn() uint64
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
	shelf     Shelf // nil: none
	turns     turns
	known     known
	left      left
	unbuilt   unbuilt
	observe   func(Result, error)
	tell      func(Event)
	keep      func(apiID string, version int, line string)
	tracer    trace.Tracer // nil: none
}

// New returns a Deployer that grants limits by policy.
func New(st store.Store, builder Builder, sandboxes Sandboxes, policy Policy) *Deployer {
	return &Deployer{store: st, builder: builder, sandboxes: sandboxes, policy: policy}
}

// SetNode says as which node deploys are made: Recover ends what that node left unfinished. Call it before anything else.
func (d *Deployer) SetNode(id string) { d.node = id }

// Observe has fn called after every deploy with what Deploy returns. It must be quick. Call Observe before the first deploy.
func (d *Deployer) Observe(fn func(Result, error)) { d.observe = fn }

// KeepProgress has fn called with each line about the build of a version, whoever listens to the deploy. It must be quick. Call it
// before the first deploy.
func (d *Deployer) KeepProgress(fn func(apiID string, version int, line string)) { d.keep = fn }

// kept is a request whose progress is kept.
func (d *Deployer) kept(r Request, apiID string, version int) Request {
	if d.keep == nil {
		return r
	}
	listens := r.Progress
	r.Progress = func(line string) {
		d.keep(apiID, version, line)
		if listens != nil {
			listens(line)
		}
	}
	return r
}

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
	ctx, end := d.span(ctx, "deploy", attribute.String("apibuilder.api.name", r.Name))
	result, err := d.carryOut(ctx, r)
	end(err, attribute.String("apibuilder.api.id", result.API.ID), attribute.Int("apibuilder.api.version", result.Version))
	if d.observe != nil {
		d.observe(result, err)
	}
	return result, err
}

func (d *Deployer) carryOut(ctx context.Context, r Request) (Result, error) {
	r, err := r.Open()
	if err != nil {
		return Result{}, err
	}
	if err := r.Check(); err != nil {
		return Result{}, err
	}
	if err := d.checkOptions(r); err != nil {
		return Result{}, err
	}
	r, err = r.WithMetadata()
	if err != nil {
		return Result{}, err
	}
	name, err := d.resolve(ctx, r.Name)
	if err != nil {
		return Result{}, err
	}
	if _, err := d.owner(ctx, name, r); err != nil { // nobody waits for, or holds up, a deploy of somebody else's
		return Result{}, err
	}
	end, err := d.turns.take(ctx, name)
	if err != nil {
		return Result{}, canceled(err)
	}
	defer end()

	owner, err := d.owner(ctx, name, r) // which may have come meanwhile
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
	if err := d.revertLeft(ctx, api.ID); err != nil {
		return Result{}, err
	}
	version := r.version(api.ID)
	version.Node = d.node
	if err = d.keepFiles(ctx, api.ID, r); err == nil {
		version, err = d.store.AddVersion(ctx, version)
	}
	if err == nil {
		d.say(api.ID, version.Number, EventDeploying, "version %d is deployed", version.Number)
		var result Result
		if result, err = d.bring(ctx, api, version, created, r, limits); err == nil {
			return result, nil
		}
	}
	err = d.explain(ctx, err, limits)
	d.sayFailed(version, err)
	return Result{}, errors.Join(err, d.fail(ctx, failed{api: api, version: version, created: created, cause: err}))
}

// resolve returns the name to deploy under. An id stands for its API's name, also one that could be a name.
func (d *Deployer) resolve(ctx context.Context, idOrName string) (string, error) {
	api, err := d.store.API(ctx, idOrName)
	if !errors.Is(err, store.ErrNotFound) {
		return api.Name, err
	}
	if err := store.ValidName(idOrName); err != nil {
		return "", &Error{Reason: InvalidRequest, Message: err.Error(), Remedy: "choose another name"}
	}
	return idOrName, nil
}

// named returns the API of a name; an ErrConflict where that is another's id by now.
func (d *Deployer) named(ctx context.Context, name string) (store.API, error) {
	api, err := d.store.API(ctx, name)
	if err == nil && api.Name != name {
		return store.API{}, fmt.Errorf("%w: the name %q is the id of the API %s", store.ErrConflict, name, api.Name)
	}
	return api, err
}

// owner returns the user whose plan counts: that of the API with this name, the request's when there is none yet.
func (d *Deployer) owner(ctx context.Context, name string, r Request) (string, error) {
	api, err := d.named(ctx, name)
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
	return fmt.Errorf("%w: the name %q is taken", store.ErrConflict, r.Name) // not the API's: it may have been named by its id
}

// claim finds the API of that name or creates it.
func (d *Deployer) claim(ctx context.Context, name string, r Request) (api store.API, created bool, err error) {
	api, err = d.named(ctx, name)
	if !errors.Is(err, store.ErrNotFound) {
		return api, false, errors.Join(err, r.mayTouch(api))
	}
	if api, err = r.settle(store.API{ID: store.NewID("api"), Name: name, UserID: r.owner()}); err != nil {
		return store.API{}, false, err
	}
	made, err := d.store.CreateAPI(ctx, api)
	if errors.Is(err, store.ErrConflict) { // another node deploys it first as well: both are first deploys
		other, readErr := d.named(ctx, name)
		if readErr == nil {
			return other, other.ActiveVersion == 0, r.mayTouch(other)
		}
		if !errors.Is(readErr, store.ErrNotFound) { // else it is the host that is taken
			err = readErr
		}
	}
	if err != nil {
		if isAway(err) { // it may be there all the same
			d.left.add(failed{api: api, created: true, cause: err})
		}
		return store.API{}, false, fmt.Errorf("create API %s: %w", name, err)
	}
	return made, true, nil
}
