package cli

import (
	"context"
	"fmt"

	"apibuilder/ratelimit"
	"apibuilder/ratelimit/shared"
	"apibuilder/store"
	"apibuilder/store/postgres"
)

// bank lets nodes lease permits from the database that they share.
type bank struct{ *postgres.Store }

// Lease implements shared.Bank.
func (b bank) Lease(ctx context.Context, asks []shared.Ask) ([]shared.Grant, error) {
	questions := make([]store.PermitAsk, len(asks))
	for i, a := range asks {
		questions[i] = store.PermitAsk(a)
	}
	answers, err := b.LeasePermits(ctx, questions)
	if err != nil {
		return nil, err
	}
	grants := make([]shared.Grant, len(answers))
	for i, g := range answers {
		grants[i] = shared.Grant(g)
	}
	return grants, nil
}

// openLimits counts over all nodes where there may be others, else in this process.
func (s *server) openLimits(ctx context.Context) error {
	database, ok := s.database.(*postgres.Store)
	if !ok {
		s.limiter = ratelimit.New(nil)
		return nil
	}
	limiter := shared.New(shared.Config{
		Bank: bank{database}, Refuse: s.options.refuseUncounted, Log: s.log.Named("limits"),
	})
	s.limiter = limiter
	s.onStop("limits", limiter.Stop)
	return limiter.Start(ctx)
}

// parseWithoutDatabase reports whether to refuse what cannot be counted.
func parseWithoutDatabase(text string) (bool, error) {
	switch text {
	case "local":
		return false, nil
	case "refuse":
		return true, nil
	}
	return false, fmt.Errorf("%q is neither local nor refuse", text)
}
