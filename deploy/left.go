package deploy

import (
	"context"
	"errors"
	"reflect"
	"slices"
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

// takeSettings takes what is to be taken back of an API's settings.
func (l *left) takeSettings(apiID string) (of []failed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.DeleteFunc(l.list, func(f failed) bool {
		is := f.settings != nil && f.api.ID == apiID
		if is {
			of = append(of, f)
		}
		return is
	})
	return of
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
	// Not the split of its traffic, which has ended with the activation, or has been given back: by then somebody may have ended it on purpose.
	done.before.Options.Traffic, done.after.Options.Traffic = store.Traffic{}, store.Traffic{}
	if isAway(err) && !reflect.DeepEqual(done.before, done.after) {
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
		err := d.undoLate(ctx, f, d.revertLate)
		if isAway(err) || ctx.Err() != nil {
			d.left.add(f)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// undoLate is undo of a deploy whose last step may have come through though nobody heard of it. Settings are taken back by revert.
func (d *Deployer) undoLate(ctx context.Context, f failed, revert func(context.Context, failed) error) error {
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
		return revert(ctx, f)
	}
	return d.undo(ctx, f.api, f.version, f.created, f.cause)
}

// revertLeft takes back what is left of an API's settings. Its turn must have been taken.
func (d *Deployer) revertLeft(ctx context.Context, apiID string) error {
	for _, f := range d.left.takeSettings(apiID) {
		if err := d.undoLate(ctx, f, d.revertNow); err != nil {
			d.left.add(f)
			return err
		}
	}
	return nil
}

func (d *Deployer) revertNow(ctx context.Context, f failed) error {
	return d.revert(ctx, f.api, *f.settings, f.version.Number)
}

// revertLate is revert of settings, between deploys.
func (d *Deployer) revertLate(ctx context.Context, f failed) error {
	patience, cancel := context.WithTimeout(ctx, turnWait)
	defer cancel()
	end, err := d.turns.take(patience, f.api.Name)
	if err != nil {
		return err
	}
	defer end()
	return d.revertNow(ctx, f)
}

// turnWait is how long what is left of one API may hold up what is left of others.
const turnWait = time.Second
