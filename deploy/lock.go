package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"apibuilder/python-env"
	"apibuilder/store"
)

// keptLock returns the lock of the version that serves, or was ready last where none does, when the request asks for the same packages, so that
// they change only when somebody means it. source are the packages that it wants built from source. It is empty when they are to be resolved.
func (d *Deployer) keptLock(ctx context.Context, api store.API, r Request, source []string) (string, error) {
	if r.Upgrade {
		return "", nil
	}
	v, err := LastReady(ctx, d.store, api)
	if err != nil {
		return "", fmt.Errorf("read the version that serves: %w", err)
	}
	if v.Lock == "" || v.Python != r.Python || !pythonenv.SameRequirements(v.Requirements, r.Requirements) {
		return "", nil
	}
	if !pythonenv.SameSources(pythonenv.LockedSources(v.Lock), source) {
		return "", nil
	}
	r.progress("the requirements are those of version %d: its packages are kept, --upgrade looks for newer ones", v.Number)
	return v.Lock, nil
}

// LastReady returns the version of an API that serves, or where none does the one that was ready last; the zero version where none was.
func LastReady(ctx context.Context, st interface {
	Version(ctx context.Context, apiID string, number int) (store.Version, error)
	FindVersions(ctx context.Context, f store.VersionFilter) ([]store.VersionSummary, error)
}, api store.API,
) (store.Version, error) {
	number := api.ActiveVersion
	if number == 0 {
		found, err := st.FindVersions(ctx, store.VersionFilter{APIID: api.ID, State: store.VersionReady, Limit: 1})
		if err != nil || len(found) == 0 {
			return store.Version{}, err
		}
		number = found[0].Number
	}
	return st.Version(ctx, api.ID, number)
}

// sdists are the packages that an API's owner wants built from source.
func sdists(api store.API) []string {
	if api.Options.Sdists == "" {
		return nil
	}
	return strings.Split(api.Options.Sdists, ",")
}

// Lock resolves a request's requirements and builds nothing. Errors that are the author's to mend are *Error.
func (d *Deployer) Lock(ctx context.Context, r Request) (string, error) {
	if err := r.checkRequirements(); err != nil {
		return "", err
	}
	r, err := r.WithMetadata()
	if err != nil {
		return "", err
	}
	lock, err := d.builder.Lock(ctx, pythonenv.Request{
		Requirements: r.Requirements, Python: r.Python, Progress: r.Progress,
	})
	if build, ok := errors.AsType[*pythonenv.BuildError](err); ok {
		err = r.explainBuild(build)
	}
	if err != nil {
		return "", d.explain(ctx, err, store.Limits{})
	}
	return lock, nil
}

// Package is one line of a lock.
type Package = pythonenv.Package

// Packages says what a version is built from.
type Packages struct {
	API         store.API
	Version     store.Version
	Python      string                 // the release that it was locked for, "3.11.2"; empty: not built yet
	Locked      []Package              // by name
	Environment *pythonenv.Environment // nil: not on this machine now; it is built again when it is needed
}

// Packages reads a version; number 0 is the one that serves. It wraps store.ErrNotFound.
func (d *Deployer) Packages(ctx context.Context, idOrName string, number int) (Packages, error) {
	api, err := d.store.API(ctx, idOrName)
	if err != nil {
		return Packages{}, err
	}
	if number == 0 {
		if number = api.ActiveVersion; number == 0 {
			return Packages{}, &Error{
				Reason: NotDeployed, Message: "no version of " + api.Name + " ever started",
				Remedy: "name one, as in " + api.Name + "@1",
			}
		}
	}
	v, err := d.store.Version(ctx, api.ID, number)
	if errors.Is(err, store.ErrNotFound) {
		return Packages{}, fmt.Errorf("find version %d of %s: %w", number, api.Name, store.ErrNotFound)
	}
	if err != nil {
		return Packages{}, err
	}
	p := Packages{API: api, Version: v}
	if environment, ok := d.builder.Lookup(v.Environment); ok {
		p.Environment = &environment
	}
	p.Python, p.Locked = pythonenv.LockedPackages(v.Lock)
	return p, nil
}

// UsersOfPython names the APIs that need the interpreter of this version at this path: a version that gets requests runs with it, or
// would be built again with such a one, or one is being deployed at this node that may.
func (d *Deployer) UsersOfPython(ctx context.Context, path, version string) ([]string, error) {
	// Those first: what is deployed meanwhile is active before it is no longer being built.
	building, err := d.store.Building(ctx)
	if err != nil {
		return nil, fmt.Errorf("list what is being deployed: %w", err)
	}
	apis, err := d.store.APIs(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the APIs: %w", err)
	}
	var names []string
	for _, api := range apis {
		uses := slices.ContainsFunc(building, func(v store.Version) bool {
			return v.APIID == api.ID && v.Node == d.node && v.Python != "" && pythonenv.Admits(v.Python, version)
		})
		for _, share := range api.Shares() {
			if uses {
				break
			}
			v, err := d.store.Version(ctx, api.ID, share.Version)
			if err != nil {
				return nil, fmt.Errorf("read version %d of %s: %w", share.Version, api.Name, err)
			}
			uses = d.runsWith(v, path, version)
		}
		if uses {
			names = append(names, api.Name)
		}
	}
	return names, nil
}

// runsWith reports whether a version has, or would be built for, the interpreter of this version at this path.
func (d *Deployer) runsWith(v store.Version, path, version string) bool {
	if e, ok := d.builder.Lookup(v.Environment); ok {
		return e.Interpreter.Path == path
	}
	python, _ := pythonenv.LockedPackages(v.Lock)
	return python == version
}
