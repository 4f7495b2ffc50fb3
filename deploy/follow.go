package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"apibuilder/sandbox"
	"apibuilder/store"
)

// errLater says that an API is not yet as the database has it, and that nothing can be done about it right now. errBusy says
// that a deploy of it is under way here.
var (
	errLater = errors.New("it is not there yet")
	errBusy  = errors.New("a deploy of it is under way here")
)

// follow makes what this node runs of an API what the database calls active: another version is started beside the one that
// runs here and takes the traffic once it answers; an API that was deleted or taken out of service is ended. What this node
// never ran is none of its business. On any error what ran before goes on.
func (d *Deployer) follow(ctx context.Context, apiID string, o Own) (changed bool, err error) {
	settled, err := d.settled(ctx, apiID) // without a turn: a deploy here may hold that for long
	if settled || err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	wait, cancel := context.WithTimeout(ctx, turnTime)
	_, end, err := d.hold(wait, apiID)
	cancel()
	switch {
	case errors.Is(err, store.ErrNotFound):
		d.known.forget(apiID)
		return true, d.sandboxes.Remove(ctx, apiID)
	case err != nil && wait.Err() != nil && ctx.Err() == nil:
		return false, errBusy
	case err != nil:
		return false, err
	}
	defer end()
	last, ran := d.known.find(apiID)
	if !ran {
		return false, nil
	}
	api, version, plan, err := d.active(ctx, apiID)
	exit, inactive := errors.AsType[*sandbox.Exit](err)
	switch {
	case inactive && exit.Reason == NotDeployed:
		d.known.forget(apiID)
		return true, o.End(ctx, apiID)
	case errors.Is(err, store.ErrNotFound): // deleted between the two readings
		return false, errLater
	case err != nil:
		return false, err
	case version.Number == last.Version:
		return false, nil
	case !o.Running(apiID): // it starts with what is active, unless it is starting already
		return false, errLater
	case version.Lock == "" && version.State == store.VersionBuilding: // an older node deploys it, and writes the lock last
		return false, errLater
	}
	return true, d.switchTo(ctx, plan, api, version)
}

// settled reports whether there is nothing to do: this node never ran the API, or what it ran last is active. Then the limits of
// now are those of its next start, also while the database is away.
func (d *Deployer) settled(ctx context.Context, apiID string) (bool, error) {
	last, ran := d.known.find(apiID)
	if !ran {
		return true, nil
	}
	api, version, plan, err := d.active(ctx, apiID)
	if err != nil || version.Number != last.Version {
		if _, inactive := errors.AsType[*sandbox.Exit](err); inactive {
			err = nil
		}
		return false, err
	}
	if environment, ok := d.builder.Lookup(version.Environment); ok {
		d.known.renew(d.specUnder(plan, api, version, environment))
	}
	return true, nil
}

// switchTo has a version that is active serve here.
func (d *Deployer) switchTo(ctx context.Context, plan store.Plan, api store.API, version store.Version) error {
	environment, err := d.environment(ctx, version)
	if err != nil {
		return err
	}
	spec := d.specUnder(plan, api, version, environment)
	_, err = d.sandboxes.Replace(ctx, spec, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		now, err := d.store.API(ctx, api.ID)
		switch {
		case err != nil:
			return err
		case now.ActiveVersion != version.Number:
			return errLater
		}
		d.known.keep(spec)
		return nil
	})
	if err != nil {
		return fmt.Errorf("start version %d, which another node activated: %w", version.Number, err)
	}
	return nil
}

// Own is what a Follower needs to know of the programs of its node.
type Own struct {
	// Running reports whether an API's program runs here.
	Running func(apiID string) bool
	// End ends what runs of an API that was taken out of service.
	End func(ctx context.Context, apiID string) error
}

const (
	followWorkers = 2 // at a time, so that a node that builds what another deployed goes on serving
	firstPause    = 250 * time.Millisecond
	longestPause  = time.Minute
	mostLater     = 12                // pauses that a program that does not run is waited for: about five minutes
	goneEvery     = store.NodeSilence // between looks for what dead nodes left unfinished
	followTime    = 15 * time.Minute  // for one API, most of it for the build
	turnTime      = 2 * time.Second   // to wait for a deploy of the same API
)
