package deploy

import (
	"context"
	"fmt"

	"apibuilder/egress"
	"apibuilder/store"
)

// Outside says what of a policy could never be reached on this server; egress.Ceiling is one.
type Outside interface {
	Check(p egress.Policy) error
}

// EgressOf is what an API's options allow. Text that cannot be read, which a newer server may have written, allows nothing.
func EgressOf(o store.Options) egress.Policy {
	p, err := egress.Parse(o.Egress)
	if err != nil {
		return egress.Policy{}
	}
	return p
}

// CheckOptions refuses options that go beyond what the operator allows, with an *Error.
func (p Policy) CheckOptions(o store.Options) error {
	policy := EgressOf(o)
	if policy.None() || p.Outside == nil {
		return nil
	}
	if err := p.Outside.Check(policy); err != nil {
		return &Error{Reason: AboveCeiling, Message: "option egress", Remedy: err.Error()}
	}
	return nil
}

// CheckOptions is Policy.CheckOptions.
func (d *Deployer) CheckOptions(o store.Options) error { return d.policy.CheckOptions(o) }

// checkOptions refuses a request's options before anything is built.
func (d *Deployer) checkOptions(r Request) error {
	o, err := ApplyOptions(store.Options{}, r.Options)
	if err != nil {
		return err
	}
	return d.CheckOptions(o)
}

// Egress reads what an API may reach now. What is known of it for the time when the store is away changes with it. A store that does not
// answer is away after readTimeout: changes of other APIs wait meanwhile.
func (d *Deployer) Egress(outer context.Context, apiID string) (egress.Policy, error) {
	ctx, cancel := context.WithTimeout(outer, readTimeout)
	defer cancel()
	turn := d.sandboxes.EgressTurn()
	api, err := d.store.API(ctx, apiID)
	if err = late(ctx, outer, err); err != nil {
		return egress.Policy{}, fmt.Errorf("read what API %s may reach: %w", apiID, err)
	}
	policy := EgressOf(api.Options)
	d.known.allow(apiID, policy, turn)
	return policy, nil
}
