package cli

import (
	"context"
	"errors"

	"apibuilder/deploy"
	"apibuilder/gateway"
	"apibuilder/sandbox"
)

// lender lends the manager's sandboxes to the gateway.
type lender struct{ *sandbox.Manager }

// Acquire implements gateway.Sandboxes.
func (l lender) Acquire(ctx context.Context, apiID string) (gateway.Lease, error) {
	lease, err := l.Manager.Acquire(ctx, apiID)
	if err != nil {
		return nil, err // not a lease that is nil and yet not nil
	}
	return lease, nil
}

// lifecycle is what is asked for by hand.
type lifecycle struct {
	lender
	deployer *deploy.Deployer
}

// Wake implements admin.Lifecycle. Whoever asks for it by hand is not held off.
func (l lifecycle) Wake(ctx context.Context, apiID string) error {
	l.deployer.TryAgain(apiID)
	l.Forgive(apiID)
	return l.Manager.Wake(ctx, apiID)
}

// sandboxes run versions for the deployer. What is kept of an API goes when the API goes.
type sandboxes struct {
	*sandbox.Manager
	forget func(apiID string) error
}

// Remove implements deploy.Sandboxes.
func (s sandboxes) Remove(ctx context.Context, apiID string) error {
	return errors.Join(s.Manager.Remove(ctx, apiID), s.forget(apiID))
}
