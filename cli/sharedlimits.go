package cli

import (
	"context"
	"fmt"
	"time"

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

// ledger lets nodes lease permits of monthly quotas from the database that they share.
type ledger struct {
	*postgres.Store
	used func(ctx context.Context, q ratelimit.Quota, month time.Time) (int64, error)
}

// LeaseQuota implements shared.Ledger.
func (l ledger) LeaseQuota(ctx context.Context, a shared.QuotaAsk) (shared.QuotaGrant, error) {
	g, err := l.Store.LeaseQuota(ctx, store.QuotaAsk(a))
	return shared.QuotaGrant(g), err
}

// UsedQuota implements shared.Ledger.
func (l ledger) UsedQuota(ctx context.Context, q ratelimit.Quota, month time.Time) (int64, error) {
	return l.used(ctx, q, month)
}

// openLimits counts over all nodes where there may be others, else in this process.
func (s *server) openLimits(ctx context.Context) error {
	database, ok := s.database.(*postgres.Store)
	if !ok {
		quotas := ratelimit.NewMonthly(s.usedQuota)
		s.limiter, s.quotas = ratelimit.New(nil), quotas
		s.background("count of quotas", func(life context.Context) {
			select {
			case <-s.alone: // the store has what another server answered until its end
				quotas.Recount()
			case <-life.Done():
			}
		})
		return nil
	}
	quotas := shared.NewMonthly(shared.MonthlyConfig{
		Ledger: ledger{database, s.usedQuota}, Refuse: s.options.refuseUncounted, Log: s.log.Named("limits"),
	})
	s.quotas = quotas
	s.onStop("quotas", quotas.Stop)
	if err := quotas.Start(ctx); err != nil {
		return err
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
