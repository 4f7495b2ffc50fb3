package deploy

import (
	"context"
	"fmt"

	"apibuilder/store"
)

// hold waits for the turn of an API and returns it as it is then, if that passes the checks; end gives the turn up.
func (d *Deployer) hold(ctx context.Context, idOrName string, checks []store.Check[store.API]) (api store.API, end func(), err error) {
	if api, err = d.store.API(ctx, idOrName); err != nil {
		return store.API{}, nil, err
	}
	if end, err = d.turns.take(ctx, api.Name); err != nil {
		return store.API{}, nil, canceled(err)
	}
	if api, err = d.store.API(ctx, api.ID); err == nil { // it may have changed while this waited
		err = store.Pass(api, checks)
	}
	if err != nil {
		end()
		return store.API{}, nil, err
	}
	return api, end, nil
}

// Delete removes an API with its versions and keys, then ends what runs of it; requests under way are given time to end.
// It wraps store.ErrNotFound when there is no such API, and the error of a check that it does not pass.
func (d *Deployer) Delete(ctx context.Context, idOrName string, checks ...store.Check[store.API]) (store.API, error) {
	api, end, err := d.hold(ctx, idOrName, nil)
	if err != nil {
		return store.API{}, err
	}
	defer end()
	if err := d.store.DeleteAPI(ctx, api.ID, checks...); err != nil {
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
