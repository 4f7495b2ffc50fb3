package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"apibuilder/store"
)

// AddEgress is as in store.Store.
func (s *Store) AddEgress(ctx context.Context, b store.EgressBatch) error {
	if err := b.Check(); err != nil {
		return fmt.Errorf("add egress: %w", err)
	}
	err := s.write(ctx, func(u *unit) error {
		result, err := u.ExecContext(ctx, `INSERT INTO egress_sources (source, batch, at) VALUES (?, ?, ?)
			ON CONFLICT (source) DO UPDATE SET batch = excluded.batch, at = excluded.at WHERE egress_sources.batch < excluded.batch`,
			b.Source, b.Number, b.Time.UnixMicro())
		if err != nil {
			return err
		}
		if fresh, err := result.RowsAffected(); err != nil || fresh == 0 {
			return err
		}
		owners := map[string]string{}
		for _, use := range b.Uses {
			if _, ok := owners[use.APIID]; !ok {
				var owner string
				if err := u.QueryRowContext(ctx, ownerStatement, use.APIID).Scan(&owner); err != nil {
					return err
				}
				owners[use.APIID] = owner
			}
		}
		for table, span := range map[string]time.Duration{"egress_hours": time.Hour, "egress_days": 24 * time.Hour} {
			if err := addEgress(ctx, u, table, b.Time.UTC().Truncate(span), b.Uses, owners); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("add egress: %w", err)
	}
	return nil
}

func addEgress(ctx context.Context, u *unit, table string, start time.Time, uses []store.EgressUse, owners map[string]string) error {
	upsert, err := u.PrepareContext(ctx, addToSums(table, "start, api_id, user_id, destination", store.EgressColumns))
	if err != nil {
		return err
	}
	defer upsert.Close()
	for _, use := range uses {
		use = use.Clean()
		_, err := upsert.ExecContext(ctx, start.UnixMicro(), use.APIID, owners[use.APIID], use.To, use.Connections, use.Sent, use.Received, use.Refused)
		if err != nil {
			return about("egress of api", use.APIID, err)
		}
	}
	return nil
}

// SumEgress is as in store.Store.
func (s *Store) SumEgress(ctx context.Context, f store.EgressFilter) (all []store.EgressSum, err error) {
	query, args, err := egressQuery(f)
	if err != nil {
		return nil, fmt.Errorf("sum egress: %w", err)
	}
	err = s.read(func() error {
		all, err = list(ctx, s.reader, func(r *sql.Rows) (store.EgressSum, error) { return scanEgress(r, f.By) }, query, args...)
		return err
	})
	return all, err
}

func egressQuery(f store.EgressFilter) (string, []any, error) {
	_, where, err := f.Columns()
	if err != nil {
		return "", nil, err
	}
	terms, selected := termsOf(where)
	hours, days := f.Spans()
	from := `SELECT * FROM egress_hours WHERE start >= ?` + terms
	args := append([]any{store.SinceMicros(hours)}, selected...)
	if f.By != store.EgressByHour {
		from = `SELECT * FROM egress_days WHERE start >= ?` + terms + ` UNION ALL ` + from + ` AND start < ?`
		args = append(append(append([]any{store.SinceMicros(days)}, selected...), args...), store.SinceMicros(days))
	}
	query, err := f.Statement(from, "NULL", total)
	return query, args, err
}

func scanEgress(rows *sql.Rows, by store.EgressBy) (store.EgressSum, error) {
	var s store.EgressSum
	var start sql.NullInt64
	var n [4]float64
	err := rows.Scan(&start, &s.APIID, &s.UserID, &s.To, &n[0], &n[1], &n[2], &n[3])
	if by == store.EgressByHour || by == store.EgressByDay {
		s.Start = fromMicros(start)
	}
	s.Connections, s.Sent, s.Received, s.Refused = int64(n[0]), int64(n[1]), int64(n[2]), int64(n[3])
	return s, err
}
