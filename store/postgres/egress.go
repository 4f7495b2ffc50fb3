package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

// AddEgress is as in store.Store.
func (s *Store) AddEgress(ctx context.Context, b store.EgressBatch) error {
	if err := b.Check(); err != nil {
		return fmt.Errorf("add egress: %w", err)
	}
	uses := make([]store.EgressUse, 0, len(b.Uses))
	for _, use := range b.Uses {
		uses = append(uses, use.Clean())
	}
	// All nodes lock rows in the same order, so that none waits for another that waits for it.
	slices.SortFunc(uses, func(a, b store.EgressUse) int { return cmp.Or(cmp.Compare(a.APIID, b.APIID), cmp.Compare(a.To, b.To)) })
	err := s.read(ctx, func() error { // nobody is told, as of usage
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return addBatch(ctx, tx, b, uses) })
	})
	if err != nil {
		return fmt.Errorf("add egress: %w", err)
	}
	return nil
}

func addBatch(ctx context.Context, tx pgx.Tx, b store.EgressBatch, uses []store.EgressUse) error {
	tag, err := tx.Exec(ctx, `INSERT INTO apibuilder_egress_sources AS s (source, batch, at) VALUES ($1, $2, $3)
			ON CONFLICT (source) DO UPDATE SET batch = excluded.batch, at = excluded.at WHERE s.batch < excluded.batch`,
		b.Source, b.Number, b.Time.UnixMicro())
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	for _, t := range []struct {
		table string
		span  time.Duration
	}{{"hours", time.Hour}, {"days", 24 * time.Hour}} {
		if err := addEgress(ctx, tx, t.table, b.Time.UTC().Truncate(t.span), uses); err != nil {
			return err
		}
	}
	return nil
}

// addEgress adds up first: a statement cannot change a row twice.
func addEgress(ctx context.Context, tx pgx.Tx, table string, start time.Time, uses []store.EgressUse) error {
	var api, to []string
	var n [4][]int64
	for _, u := range uses {
		api, to = append(api, u.APIID), append(to, u.To)
		for i, v := range []int64{u.Connections, u.Sent, u.Received, u.Refused} {
			n[i] = append(n[i], v)
		}
	}
	_, err := tx.Exec(ctx, `INSERT INTO apibuilder_egress_`+table+` AS s (start, api_id, user_id, destination, `+store.EgressColumns+`)
		SELECT $1::bigint, u.api_id, coalesce(max(a.user_id), ''), u.destination, sum(u.connections)::bigint, sum(u.sent)::bigint,
			sum(u.received)::bigint, sum(u.refused)::bigint
		FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
			AS u (api_id, destination, connections, sent, received, refused)
		LEFT JOIN apibuilder_apis a ON a.id = u.api_id
		GROUP BY u.api_id, u.destination ORDER BY u.api_id, u.destination
		ON CONFLICT (start, api_id, user_id, destination) DO UPDATE SET `+sumUpdates(store.EgressColumns),
		start.UnixMicro(), api, to, n[0], n[1], n[2], n[3])
	return err
}

// SumEgress is as in store.Store.
func (s *Store) SumEgress(ctx context.Context, f store.EgressFilter) (all []store.EgressSum, err error) {
	if !storable(f.APIID + f.UserID) {
		return []store.EgressSum{}, nil
	}
	query, args, err := egressQuery(f)
	if err != nil {
		return nil, fmt.Errorf("sum egress: %w", err)
	}
	err = s.read(ctx, func() error {
		all, err = list(ctx, s.pool, func(r pgx.Rows) (store.EgressSum, error) { return scanEgress(r, f.By) }, query, args...)
		return err
	})
	return all, err
}

func egressQuery(f store.EgressFilter) (string, []any, error) {
	_, where, err := f.Columns()
	if err != nil {
		return "", nil, err
	}
	hours, days := f.Spans()
	terms, args := termsOf(where, store.SinceMicros(hours), store.SinceMicros(days))
	from := `SELECT * FROM apibuilder_egress_hours WHERE start >= $1::bigint` + terms
	switch f.By {
	case store.EgressByHour:
		from += ` AND $2::bigint IS NOT NULL` // every argument must have a place
	default:
		from += ` AND start < $2::bigint UNION ALL SELECT * FROM apibuilder_egress_days WHERE start >= $2::bigint` + terms
	}
	query, err := f.Statement(from, "NULL::bigint", total)
	return query, args, err
}

func scanEgress(rows pgx.Rows, by store.EgressBy) (store.EgressSum, error) {
	var s store.EgressSum
	var start *int64
	err := rows.Scan(&start, &s.APIID, &s.UserID, &s.To, &s.Connections, &s.Sent, &s.Received, &s.Refused)
	if by == store.EgressByHour || by == store.EgressByDay {
		s.Start = fromMicros(start)
	}
	return s, err
}
