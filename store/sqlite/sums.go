package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"apibuilder/store"
)

// addSums adds records that were stored just now to the sums, and tells keys when they were used.
func addSums(ctx context.Context, u *unit, fresh []store.Usage) error {
	owners := map[string]string{}
	used := map[string]time.Time{}
	for i := range fresh {
		r := &fresh[i]
		if _, ok := owners[r.APIID]; !ok {
			owner, err := ownerOf(ctx, u, r.APIID)
			if err != nil {
				return err
			}
			owners[r.APIID] = owner
		}
		if r.KeyID != "" && r.Time.After(used[r.KeyID]) {
			used[r.KeyID] = r.Time
		}
	}
	owner := func(apiID string) string { return owners[apiID] }
	all := store.SumUp(fresh, owner)
	for table, sums := range map[string][]store.Sum{
		"usage_hours": all.Hours, "usage_days": all.Days, "usage_totals": all.Totals, "usage_routes": all.Routes,
	} {
		if err := upsertSums(ctx, u, table, sums); err != nil {
			return fmt.Errorf("add to %s: %w", table, err)
		}
	}
	for key, at := range used {
		if _, err := u.run(ctx, useStatement, key, at.UnixMicro()); err != nil {
			return about("use of key", key, err)
		}
	}
	return nil
}

const (
	// ownerStatement is empty where the API is gone.
	ownerStatement = `SELECT coalesce((SELECT user_id FROM apis WHERE id = ?), '')`
	useStatement   = `INSERT INTO key_uses (key_id, last_used_at) VALUES (?, ?)
		ON CONFLICT (key_id) DO UPDATE SET last_used_at = max(last_used_at, excluded.last_used_at)`
)

func ownerOf(ctx context.Context, u *unit, apiID string) (owner string, err error) {
	err = u.row(ctx, ownerStatement, apiID).Scan(&owner)
	return owner, err
}

// sumStatement adds to a table of sums.
var sumStatement = map[string]string{
	"usage_hours": addToSums("usage_hours", sumKey, store.SumColumns), "usage_days": addToSums("usage_days", sumKey, store.SumColumns),
	"usage_totals": addToSums("usage_totals", "start", store.SumColumns), "usage_routes": addToSums("usage_routes", routeKey, store.SumColumns),
}

const (
	sumKey   = "start, api_id, key_id, user_id"
	routeKey = "start, api_id, user_id, route"
)

// addToSums adds a row's columns to those of the row that has its key.
func addToSums(table, key, columns string) string {
	var updates []string
	for c := range strings.SplitSeq(columns, ", ") {
		updates = append(updates, fmt.Sprintf("%s = min(%s.%s + excluded.%s, %d)", c, table, c, c, int64(store.MostSum)))
	}
	places := strings.Count(key, ",") + strings.Count(columns, ",") + 2
	return `INSERT INTO ` + table + ` (` + key + `, ` + columns + `) VALUES (?` + strings.Repeat(", ?", places-1) + `)
		ON CONFLICT (` + key + `) DO UPDATE SET ` + strings.Join(updates, ", ")
}

func upsertSums(ctx context.Context, u *unit, table string, sums []store.Sum) error {
	for _, s := range sums {
		args := []any{s.Start.UnixMicro()}
		switch table {
		case "usage_totals":
		case "usage_routes":
			args = append(args, s.APIID, s.UserID, s.Route)
		default:
			args = append(args, s.APIID, s.KeyID, s.UserID)
		}
		args = append(args, s.Requests, s.Admitted, s.ClientErrors, s.ServerErrors, s.BytesIn, s.BytesOut, s.Duration.Microseconds(),
			s.StartWait.Microseconds(), s.CPU.Microseconds())
		if _, err := u.run(ctx, sumStatement[table], args...); err != nil {
			return err
		}
	}
	return nil
}

// SumUsage is as in store.Store.
func (s *Store) SumUsage(ctx context.Context, f store.SumFilter) (all []store.Sum, err error) {
	query, args, err := sumQuery(f)
	if err != nil {
		return nil, fmt.Errorf("sum usage: %w", err)
	}
	err = s.read(func() error {
		all, err = list(ctx, s.reader, func(r *sql.Rows) (store.Sum, error) { return scanSum(r, f.By) }, query, args...)
		return err
	})
	return all, err
}

func sumQuery(f store.SumFilter) (string, []any, error) {
	_, where, err := f.Columns()
	if err != nil {
		return "", nil, err
	}
	terms, selected := termsOf(where)
	hours, days := f.Spans()
	if f.ByHourAlone() {
		return `SELECT start, '', '', '', '', ` + store.SumColumns + ` FROM usage_totals WHERE start >= ? ORDER BY start`, []any{store.SinceMicros(hours)}, nil
	}
	from := `SELECT * FROM usage_hours WHERE start >= ?` + terms
	args := append([]any{store.SinceMicros(hours)}, selected...)
	switch f.By {
	case store.ByHour:
	case store.ByRoute:
		from = `SELECT * FROM usage_routes WHERE start >= ?` + terms
	default:
		from = `SELECT * FROM usage_days WHERE start >= ?` + terms + ` UNION ALL ` + from + ` AND start < ?`
		args = append(append(append([]any{store.SinceMicros(days)}, selected...), args...), store.SinceMicros(days))
	}
	query, err := f.Statement(from, "NULL", total)
	return query, args, err
}

// termsOf is what a filter's columns must be, to stand behind another condition.
func termsOf(where map[string]any) (terms string, args []any) {
	for _, column := range slices.Sorted(maps.Keys(where)) {
		terms += " AND " + column + " = ?"
		args = append(args, where[column])
	}
	return terms, args
}

// total is the sum of a column, as far as a sum goes.
func total(column string) string {
	return fmt.Sprintf("min(total(%s), %d)", column, int64(store.MostSum))
}

func scanSum(rows *sql.Rows, by store.SumBy) (store.Sum, error) {
	var s store.Sum
	var start sql.NullInt64
	var n [9]float64
	err := rows.Scan(&start, &s.APIID, &s.KeyID, &s.UserID, &s.Route, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8])
	if by == store.ByHour || by == store.ByDay {
		s.Start = fromMicros(start)
	}
	s.Requests, s.Admitted, s.ClientErrors, s.ServerErrors = int64(n[0]), int64(n[1]), int64(n[2]), int64(n[3])
	s.BytesIn, s.BytesOut = int64(n[4]), int64(n[5])
	s.Duration, s.StartWait, s.CPU = store.Micros(int64(n[6])), store.Micros(int64(n[7])), store.Micros(int64(n[8]))
	return s, err
}

// CountUsage is as in store.Store. What is older than the first whole hour is counted by its records.
func (s *Store) CountUsage(ctx context.Context, apiID, keyID string, since time.Time) (n int64, err error) {
	f := store.SumFilter{APIID: apiID, KeyID: keyID}
	if !since.IsZero() {
		f.Since = since.UTC().Add(time.Hour - 1).Truncate(time.Hour)
	}
	sums, err := s.SumUsage(ctx, f)
	if err != nil || since.IsZero() {
		return store.Requests(sums), err
	}
	where, args := usageWhere(apiID, keyID, since)
	var inBlocks int64
	err = s.read(func() error {
		err := s.reader.QueryRowContext(ctx, `SELECT count(*) FROM usage`+where+` AND time < ?`, append(args, f.Since.UnixMicro())...).Scan(&n)
		if err == nil {
			inBlocks, err = countInBlocks(ctx, s.reader, store.UsageFilter{APIID: apiID, KeyID: keyID, Since: since, Until: f.Since})
		}
		return err
	})
	return n + inBlocks + store.Requests(sums), err
}

// PruneUsage is as in store.Store.
func (s *Store) PruneUsage(ctx context.Context, records, hours time.Time, most int) (n int64, err error) {
	if err := s.read(func() error { return s.statements.prepare(ctx, s.writer, usageStatements) }); err != nil {
		return 0, fmt.Errorf("prune usage: %w", err)
	}
	err = s.write(ctx, func(u *unit) error {
		result, err := u.ExecContext(ctx, `DELETE FROM usage WHERE seq IN (SELECT seq FROM usage WHERE time < ? ORDER BY time LIMIT ?)`,
			store.SinceMicros(records), most)
		if err != nil {
			return err
		}
		if n, err = result.RowsAffected(); err != nil {
			return err
		}
		inBlocks, err := pruneBlocks(ctx, u, store.SinceMicros(records), most-int(n))
		n += inBlocks
		if err != nil {
			return err
		}
		result, err = u.ExecContext(ctx, `DELETE FROM usage_hours WHERE (start, api_id, key_id, user_id) IN
			(SELECT start, api_id, key_id, user_id FROM usage_hours WHERE start < ? ORDER BY start LIMIT ?)`, store.SinceMicros(hours), most)
		if err != nil {
			return err
		}
		more, err := result.RowsAffected()
		n += more
		if err != nil {
			return err
		}
		if _, err = u.ExecContext(ctx, `DELETE FROM usage_routes WHERE start < ?`, store.SinceMicros(hours)); err != nil {
			return err
		}
		if _, err = u.ExecContext(ctx, `DELETE FROM usage_totals WHERE start < ?`, store.SinceMicros(hours)); err != nil {
			return err
		}
		if _, err = u.ExecContext(ctx, `DELETE FROM egress_hours WHERE start < ?`, store.SinceMicros(hours)); err != nil {
			return err
		}
		if _, err = u.ExecContext(ctx, `DELETE FROM egress_sources WHERE at < ?`, store.SinceMicros(hours)); err != nil {
			return err
		}
		_, err = u.ExecContext(ctx, `DELETE FROM key_uses WHERE last_used_at < ? AND key_id NOT IN (SELECT id FROM keys)`, store.SinceMicros(records))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("prune usage: %w", err)
	}
	return n, nil
}
