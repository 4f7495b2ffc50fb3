package deploy

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"apibuilder/store"
)

// errSame says that a request changes none of an API's settings.
var errSame = errors.New("nothing to change")

// settingsChange is what a deploy did to the settings of an API.
type settingsChange struct{ before, after store.API }

// changeSettings gives an API the settings that a deploy asks for. What somebody else changed since the deploy began stays.
func (d *Deployer) changeSettings(ctx context.Context, before store.API, r Request) (store.API, settingsChange, error) {
	done := settingsChange{before, before}
	after, err := d.store.ChangeAPI(ctx, before.ID, func(now store.API) (store.API, error) {
		settled, err := r.settle(now)
		if err == nil && reflect.DeepEqual(settled, now) { // its options may hold lists
			err = errSame
		}
		done = settingsChange{now, settled}
		return settled, err
	})
	switch {
	case errors.Is(err, errSame):
		return done.before, done, nil
	case err != nil:
		return before, done, fmt.Errorf("change the API's settings: %w", err)
	}
	return after, done, nil
}

// takeBack returns an API with the settings of before, where they are still as the deploy left them.
func (c settingsChange) takeBack(now store.API) store.API {
	if now.Public == c.after.Public {
		now.Public = c.before.Public
	}
	if now.PublicDocs == c.after.PublicDocs {
		now.PublicDocs = c.before.PublicDocs
	}
	if now.Rate == c.after.Rate {
		now.Rate = c.before.Rate
	}
	if now.Options.Traffic.IsZero() { // activating the version has ended the split
		now.Options.Traffic = c.before.Options.Traffic
	}
	options := reflect.ValueOf(&now.Options).Elem()
	before, after := reflect.ValueOf(c.before.Options), reflect.ValueOf(c.after.Options)
	for i := range options.NumField() {
		if reflect.DeepEqual(options.Field(i).Interface(), after.Field(i).Interface()) {
			options.Field(i).Set(before.Field(i))
		}
	}
	return now
}
