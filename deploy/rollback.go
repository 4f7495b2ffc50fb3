package deploy

import (
	"context"
	"errors"
	"fmt"

	"apibuilder/sandbox"
	"apibuilder/store"
)

// Rollback makes a version that was ready before serve again: it is started beside the one that serves, must answer its
// probe, and takes all the traffic, which ends a split. Number 0 means the newest ready version below the active one, in a split
// below the newest that gets requests. Errors: *Error that says what
// is wrong, or one that wraps store.ErrNotFound. On any error the active version keeps serving.
func (d *Deployer) Rollback(ctx context.Context, idOrName string, number int, checks ...store.Check[store.API]) (store.API, error) {
	turn := d.sandboxes.EgressTurn()
	api, end, err := d.hold(ctx, idOrName, checks)
	if err != nil {
		return store.API{}, err
	}
	defer end()
	version, err := d.versionBefore(ctx, api, number)
	if err != nil {
		return store.API{}, err
	}
	d.TryAgain(api.ID)
	environment, err := d.environment(ctx, version)
	if err != nil {
		return store.API{}, d.explain(ctx, err, version.Limits)
	}
	spec, err := d.spec(ctx, api, version, environment, turn)
	if err != nil {
		return store.API{}, err
	}
	_, err = d.sandboxes.Replace(ctx, spec, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
		defer cancel()
		return d.activate(ctx, api, version.Number)
	})
	if errors.Is(err, store.ErrNotFound) {
		err = errors.Join(err, d.forgetGone(ctx, api.ID))
	}
	if err != nil && !errors.Is(err, sandbox.ErrStopped) {
		return store.API{}, d.explain(ctx, fmt.Errorf("start version %d: %w", version.Number, err), version.Limits)
	}
	d.sayTraffic(api.ID, []store.Share{{Version: version.Number, Weight: 1}})
	return d.store.API(ctx, api.ID)
}

// versionBefore chooses the version to go back to.
func (d *Deployer) versionBefore(ctx context.Context, api store.API, number int) (store.Version, error) {
	if number != 0 {
		version, err := d.store.Version(ctx, api.ID, number)
		if err != nil {
			return store.Version{}, err
		}
		return version, usable(api, version)
	}
	shares := api.Shares()
	if len(shares) == 0 {
		return store.Version{}, invalid(api.Name+" never had a version that was ready", "deploy the code that you want")
	}
	newest := shares[len(shares)-1].Version
	found, err := d.store.FindVersions(ctx, store.VersionFilter{APIID: api.ID, State: store.VersionReady, Below: newest, Limit: 1})
	if err != nil {
		return store.Version{}, err
	}
	if len(found) > 0 {
		return d.store.Version(ctx, api.ID, found[0].Number)
	}
	return store.Version{}, invalid(fmt.Sprintf("%s has no version before %d that was ready", api.Name, newest), "deploy the code that you want")
}

func usable(api store.API, v store.Version) error {
	if v.Number == api.ActiveVersion && api.Split() == nil {
		return invalid(fmt.Sprintf("version %d of %s serves already", v.Number, api.Name), "name another version")
	}
	return wasReady(api, v)
}

func wasReady(api store.API, v store.Version) error {
	if v.State != store.VersionReady {
		return invalid(fmt.Sprintf("version %d of %s never was ready, it is %s", v.Number, api.Name, v.State), "name a version that is ready")
	}
	return nil
}
