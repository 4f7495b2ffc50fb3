package postgres

import (
	"context"
	"fmt"
	"time"

	"apibuilder/store"
)

// keptQuotas is how long a month's permits are kept after its beginning: until no node's clock can think that it is that month.
const keptQuotas = 70 * 24 * time.Hour

// The row is locked while it is asked. What is computed is told at shared.Ledger.
const leaseQuotaSQL = `INSERT INTO apibuilder_quotas AS q (policy, key, month, given, granted)
SELECT $1, $2, $3, b.base + b.granted, b.granted FROM (
	SELECT n.base, greatest(least($6::bigint, $4::bigint - n.base), 0) AS granted FROM (SELECT greatest($5::bigint, $7::bigint, 0) AS base) n
) b
ON CONFLICT (policy, key, month) DO UPDATE SET (given, granted) = (
	SELECT n.base + greatest(least($6::bigint, $4::bigint - n.base), 0), greatest(least($6::bigint, $4::bigint - n.base), 0)
	FROM (SELECT greatest(q.given + $5::bigint, $7::bigint, 0) AS base) n
)
RETURNING granted, given`

// LeaseQuota gives permits of a monthly quota that all nodes share: never more than the quota, whoever asks at once. When the answer is lost,
// so are the permits.
func (s *Store) LeaseQuota(ctx context.Context, a store.QuotaAsk) (g store.QuotaGrant, err error) {
	err = s.read(ctx, func() error {
		return s.pool.QueryRow(ctx, leaseQuotaSQL, store.CleanText(a.Policy), store.CleanText(a.Key), a.Month.UnixMicro(), a.Quota, a.Extra,
			a.Want, a.Used).Scan(&g.Granted, &g.Given)
	})
	if err != nil {
		return store.QuotaGrant{}, fmt.Errorf("lease permits of a quota: %w", err)
	}
	return g, nil
}

// purgeQuotas forgets what was given in months that are long over.
func (s *Store) purgeQuotas(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, "DELETE FROM apibuilder_quotas WHERE month < floor(extract(epoch FROM now() - make_interval(secs => $1)) * 1000000)::bigint",
		keptQuotas.Seconds())
	return err
}
