package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"apibuilder/sandbox"
	"apibuilder/store"
)

// mostShares bounds the versions of one split.
const mostShares = 8

// Plan says which versions of an API get its requests, and how many instances of them run. It is what a sandbox.Manager asks.
// Errors: sandbox.ErrUnknownAPI with store.ErrNotFound, a *sandbox.Exit when no version is active, the store's. While the
// store is away, the plan is as it was.
func (d *Deployer) Plan(ctx context.Context, apiID string) (sandbox.Plan, error) {
	plan, err := d.planNow(ctx, apiID)
	if errors.Is(err, store.ErrUnavailable) && ctx.Err() == nil {
		if last, ok := d.known.findPlan(apiID); ok {
			return last, nil
		}
	}
	return plan, err
}

// planNow is Plan without what is known for the time when the store is away.
func (d *Deployer) planNow(outer context.Context, apiID string) (sandbox.Plan, error) {
	ctx, cancel := context.WithTimeout(outer, readTimeout)
	defer cancel()
	api, err := d.deployed(ctx, apiID)
	var plan sandbox.Plan
	if err == nil {
		plan, err = d.planOf(ctx, api)
	}
	switch err = late(ctx, outer, err); {
	case err == nil:
		d.known.keepPlan(apiID, plan)
		return plan, nil
	case errors.Is(err, store.ErrNotFound):
		d.known.forget(apiID)
		return sandbox.Plan{}, fmt.Errorf("%w: %w", sandbox.ErrUnknownAPI, err)
	}
	return sandbox.Plan{}, err
}

func (d *Deployer) planOf(ctx context.Context, api store.API) (plan sandbox.Plan, err error) {
	if plan.Scale, err = d.scale(ctx, api); err != nil {
		return plan, err
	}
	for _, s := range api.Shares() {
		plan.Shares = append(plan.Shares, sandbox.Share(s))
	}
	return plan, nil
}

// Traffic splits an API's requests among versions that were ready before, one of them the active one, by weight. Those of which
// nothing runs are started first and must answer; when one does not, nothing changes. A single version is promoted; a weight
// of 0 takes a version out. Errors: *Error that says what is wrong, or one that wraps store.ErrNotFound.
func (d *Deployer) Traffic(
	ctx context.Context, idOrName string, shares []store.Share, checks ...store.Check[store.API],
) (store.API, error) {
	shares, err := checkShares(shares)
	if err != nil {
		return store.API{}, err
	}
	return d.shift(ctx, idOrName, checks, func(store.API) ([]store.Share, error) { return shares, nil })
}

// Promote gives all requests to one version, which becomes the active one and ends a split; 0 is the newest of the split.
// Errors are those of Traffic.
func (d *Deployer) Promote(ctx context.Context, idOrName string, number int, checks ...store.Check[store.API]) (store.API, error) {
	return d.shift(ctx, idOrName, checks, func(api store.API) ([]store.Share, error) {
		if number == 0 {
			split := api.Split()
			if split == nil {
				return nil, invalid(fmt.Sprintf("the requests of %s are not split", api.Name), "name the version to promote")
			}
			number = split[len(split)-1].Version
		}
		return []store.Share{{Version: number, Weight: 1}}, nil
	})
}

// checkShares returns the shares that have a weight, by version.
func checkShares(shares []store.Share) ([]store.Share, error) {
	seen := map[int]bool{}
	for _, s := range shares {
		switch {
		case s.Version < 1:
			return nil, invalid(fmt.Sprintf("there is no version %d", s.Version), "versions are numbered from 1")
		case seen[s.Version]:
			return nil, invalid(fmt.Sprintf("version %d is named twice", s.Version), "name each version once")
		case s.Weight < 0 || s.Weight > store.MaxWeight:
			return nil, invalid(fmt.Sprintf("version %d cannot have the weight %d", s.Version, s.Weight),
				fmt.Sprintf("give a number from 0 to %d", store.MaxWeight))
		}
		seen[s.Version] = true
	}
	weighty := slices.DeleteFunc(slices.Clone(shares), func(s store.Share) bool { return s.Weight == 0 })
	if len(weighty) == 0 || len(weighty) > mostShares {
		return nil, invalid(fmt.Sprintf("%d versions would get requests", len(weighty)),
			fmt.Sprintf("give from 1 to %d of them a weight, for example v7=90 v8=10", mostShares))
	}
	store.SortShares(weighty)
	return weighty, nil
}

// shift moves an API's traffic to the shares that choose returns.
func (d *Deployer) shift(
	ctx context.Context, idOrName string, checks []store.Check[store.API], choose func(store.API) ([]store.Share, error),
) (store.API, error) {
	api, end, err := d.hold(ctx, idOrName, checks)
	if err != nil {
		return store.API{}, err
	}
	defer end()
	shares, err := choose(api)
	if err != nil {
		return store.API{}, err
	}
	if err := d.checkSplit(ctx, api, shares); err != nil {
		return store.API{}, err
	}
	err = d.sandboxes.Shift(ctx, api.ID, sandboxShares(shares), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
		defer cancel()
		if len(shares) == 1 {
			now, err := d.store.API(ctx, api.ID) // another node may have activated a version meanwhile
			if err != nil {
				return err
			}
			return d.activate(ctx, now, shares[0].Version)
		}
		return d.setTraffic(ctx, api.ID, store.Traffic{Active: api.ActiveVersion, Shares: shares})
	})
	if errors.Is(err, store.ErrNotFound) {
		err = errors.Join(err, d.forgetGone(ctx, api.ID))
	}
	if err != nil && !errors.Is(err, sandbox.ErrStopped) {
		return store.API{}, d.explain(ctx, fmt.Errorf("move the traffic of %s: %w", api.Name, err), store.Limits{})
	}
	d.sayTraffic(api.ID, shares)
	return d.store.API(ctx, api.ID)
}

// checkSplit finds what is wrong with shares of an API.
func (d *Deployer) checkSplit(ctx context.Context, api store.API, shares []store.Share) error {
	hasActive := len(shares) == 1
	for _, s := range shares {
		v, err := d.store.Version(ctx, api.ID, s.Version)
		if err != nil {
			return err
		}
		if err := wasReady(api, v); err != nil {
			return err
		}
		hasActive = hasActive || s.Version == api.ActiveVersion
	}
	switch {
	case !hasActive:
		return invalid(fmt.Sprintf("version %d is the active one of %s and would get no requests", api.ActiveVersion, api.Name),
			"give it a weight, or promote another version first")
	case len(shares) == 1 && shares[0].Version == api.ActiveVersion && api.Split() == nil:
		return invalid(fmt.Sprintf("all requests of %s go to version %d already", api.Name, api.ActiveVersion), "name another version")
	}
	return nil
}

// activate gives all requests to one version and ends a split. A split holds only for the version that was active when it was
// made, so activating another one ends it at once; what is left of it is cleared so that it can never hold again.
func (d *Deployer) activate(ctx context.Context, api store.API, number int) error {
	left := api.Options.Traffic
	if left.Active == number && !left.IsZero() {
		if err := d.setTraffic(ctx, api.ID, store.Traffic{}); err != nil {
			return err
		}
		left = store.Traffic{}
	}
	if number != api.ActiveVersion {
		if err := d.store.Activate(ctx, api.ID, number); err != nil {
			return err
		}
	}
	if left.IsZero() {
		return nil
	}
	return d.setTraffic(ctx, api.ID, store.Traffic{})
}

func (d *Deployer) setTraffic(ctx context.Context, apiID string, t store.Traffic) error {
	_, err := d.store.ChangeAPI(ctx, apiID, func(now store.API) (store.API, error) { // its other settings stay
		if !t.IsZero() && now.ActiveVersion != t.Active {
			return now, invalid(fmt.Sprintf("version %d of %s was activated meanwhile", now.ActiveVersion, now.Name), "split its requests with that one")
		}
		now.Options.Traffic = t
		return now, nil
	})
	return err
}

func sandboxShares(shares []store.Share) (out []sandbox.Share) {
	for _, s := range shares {
		out = append(out, sandbox.Share(s))
	}
	return out
}
