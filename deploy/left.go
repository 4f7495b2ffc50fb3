package deploy

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	"apibuilder/store"
)

// left are failed deploys that could not be undone because the store was away. Safe for concurrent use; the zero value is ready.
type left struct {
	mu   sync.Mutex
	list []failed
}

// failed is a deploy to undo.
type failed struct {
	api     store.API
	version store.Version // without a number: it has none
	created bool
	cause   error

	settings *settingsChange // to take back, and nothing else; nil: none
}

func (l *left) add(f failed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, f)
}

func (l *left) take() []failed {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.list
	l.list = nil
	return list
}

// fail undoes a deploy, later if the store is away.
func (d *Deployer) fail(ctx context.Context, f failed) error {
	err := d.undo(ctx, f.api, f.version, f.created, f.cause)
	if isAway(err) {
		d.left.add(f)
	}
	return err
}

// leaveSettings has what a deploy did to an API's settings be taken back later, where the store was away.
func (d *Deployer) leaveSettings(api store.API, v store.Version, done settingsChange, err error) {
	changed := !reflect.DeepEqual(done.before, done.after) || !done.before.Options.Traffic.IsZero() // which ends with the activation
	if isAway(err) && changed {
		d.left.add(failed{api: api, version: v, cause: err, settings: &done})
	}
}

func isAway(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// undoLeft undoes what could not be undone before. What still cannot is left for the next time.
func (d *Deployer) undoLeft(ctx context.Context) error {
	var errs []error
	for _, f := range d.left.take() {
		err := d.undoLate(ctx, f)
		if isAway(err) || ctx.Err() != nil {
			d.left.add(f)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// undoLate is undo of a deploy whose last step may have come through though nobody heard of it.
func (d *Deployer) undoLate(ctx context.Context, f failed) error {
	api, err := d.store.API(ctx, f.api.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return d.forgetGone(ctx, f.api.ID)
	case err != nil:
		return err
	case f.version.Number > 0 && api.ActiveVersion == f.version.Number:
		v := f.version
		v.State = store.VersionReady
		return d.store.UpdateVersion(ctx, v)
	case f.settings != nil:
		return d.revertLate(ctx, f)
	}
	return d.undo(ctx, f.api, f.version, f.created, f.cause)
}

// revertLate is revert of settings that the next deploy must not find, nor lose.
func (d *Deployer) revertLate(ctx context.Context, f failed) error {
	patience, cancel := context.WithTimeout(ctx, turnWait)
	defer cancel()
	end, err := d.turns.take(patience, f.api.Name)
	if err != nil {
		return err
	}
	defer end()
	return d.revert(ctx, f.api, *f.settings, f.version.Number)
}

// turnWait is how long what is left of one API may hold up what is left of others.
const turnWait = time.Second
