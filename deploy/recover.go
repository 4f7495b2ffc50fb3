package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"apibuilder/store"
)

// namelessAge is how old an unfinished version that names no node must be to count as left over while other nodes live: one
// of them may run a release that did not write its name, and build it.
const namelessAge = time.Hour

// Recover puts in order what this node left half done when it was killed, and what nodes did that are gone: a version that
// was being built is marked failed, and an API whose first deploy that was is taken away, as if the deploy had failed.
// Call it before the first Deploy. It returns how many deploys it ended.
func (d *Deployer) Recover(ctx context.Context) (int, error) {
	return d.endUnfinished(ctx, func(v store.Version) bool { return v.Node == d.node })
}

// endUnfinished ends what is building at nodes that are gone, and what mine says is left over of this one's.
func (d *Deployer) endUnfinished(ctx context.Context, mine func(store.Version) bool) (int, error) {
	versions, err := d.store.Building(ctx)
	if err != nil {
		return 0, fmt.Errorf("list what is being deployed: %w", err)
	}
	if len(versions) == 0 {
		return 0, nil
	}
	nodes, err := d.store.Nodes(ctx)
	if err != nil {
		return 0, fmt.Errorf("list the nodes: %w", err)
	}
	living := map[string]bool{}
	for _, n := range nodes {
		if n.ID != d.node && n.Silent < store.NodeSilence {
			living[n.ID] = true
		}
	}
	ended := 0
	for _, v := range versions {
		switch {
		case mine(v):
		case v.Node == d.node, living[v.Node]:
			continue
		case v.Node == "" && len(living) > 0 && time.Since(v.CreatedAt) < namelessAge:
			continue
		}
		failed, err := d.endVersion(ctx, v)
		if err != nil && !errors.Is(err, store.ErrNotFound) { // its API was deleted meanwhile
			return ended, fmt.Errorf("end the deploy of version %d of %s: %w", v.Number, v.APIID, err)
		}
		if failed {
			ended++
		}
	}
	return ended, nil
}

// endVersion reports whether the version failed. One that was activated was killed in the last step of its deploy, and is
// ready.
func (d *Deployer) endVersion(ctx context.Context, v store.Version) (failed bool, err error) {
	api, err := d.store.API(ctx, v.APIID)
	if err != nil {
		return false, err
	}
	if v.Number == api.ActiveVersion {
		v.State = store.VersionReady
		return false, d.store.UpdateVersion(ctx, v)
	}
	v.State, v.Failure, v.Detail = store.VersionFailed, Interrupted, "the server stopped during the build"
	if err := d.store.UpdateVersion(ctx, v); err != nil {
		return false, err
	}
	if api.ActiveVersion != 0 {
		return true, nil
	}
	gone, err := d.store.AbandonAPI(ctx, api.ID, v.Number)
	if gone {
		err = d.sandboxes.Remove(ctx, api.ID)
	}
	return true, err
}
