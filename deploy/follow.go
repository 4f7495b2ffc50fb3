package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"apibuilder/sandbox"
	"apibuilder/store"
)

// errBehind says that what serves of an API on this node is not what the database says. errPart says that versions of a split do not
// serve here, which may sleep.
var (
	errBehind = errors.New("what serves here is not yet what the database says")
	errPart   = errors.New("a version of the split does not serve here")
)

// Own is what a Follower asks of its node, whose programs the manager of sandboxes keeps at their plan.
type Own struct {
	// Serving lists the versions of an API of which something serves here.
	Serving func(apiID string) []int
	// Look has what serves here follow the API's plan, in the background.
	Look func(apiID string)
	// End ends what runs of an API that was taken out of service.
	End func(ctx context.Context, apiID string) error
	// Forget drops what is kept here of an API that was deleted.
	Forget func(ctx context.Context, apiID string) error
}

// follow compares what serves of an API on this node with what the database says, and has the manager look again where they
// differ. What does not serve here starts by the plan of then, and is left alone.
func (d *Deployer) follow(ctx context.Context, apiID string, o Own) error {
	serving := o.Serving(apiID)
	plan, err := d.planNow(ctx, apiID) // one that is remembered would hide that what serves is old
	exit, inactive := errors.AsType[*sandbox.Exit](err)
	switch {
	case errors.Is(err, sandbox.ErrUnknownAPI):
		if err := o.End(ctx, apiID); err != nil { // what drains would print into a log that is gone
			return err
		}
		return o.Forget(ctx, apiID)
	case inactive && exit.Reason == NotDeployed && len(serving) > 0:
		return o.End(ctx, apiID)
	case inactive, err == nil && len(serving) == 0:
		return nil
	case err != nil:
		return err
	}
	for _, version := range serving {
		if !plan.Has(version) {
			o.Look(apiID)
			return fmt.Errorf("%w: version %d serves", errBehind, version)
		}
	}
	for _, s := range plan.Shares {
		if !slices.Contains(serving, s.Version) {
			o.Look(apiID)
			return errPart
		}
	}
	return nil
}

const (
	followWorkers = 4
	firstPause    = time.Second // for the manager, which looks by itself at once
	longestPause  = time.Minute
	goneEvery     = store.NodeSilence // between looks for what dead nodes left unfinished
	undoEvery     = 5 * time.Second   // between attempts at what could not be undone
	followTime    = 30 * time.Second  // for one look
	mostLooks     = 6                 // for a version of a split that does not serve
)
