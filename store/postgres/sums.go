package postgres

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

// addSums adds records that were stored just now to the sums, and tells keys when they were used. All nodes lock rows in the same
// order, table by table, so that none waits for another that waits for it.
func addSums(ctx context.Context, tx pgx.Tx, fresh []owned) error {
	owners, used := map[string]string{}, map[string]time.Time{}
	records := make([]store.Usage, 0, len(fresh))
	for _, r := range fresh {
		records = append(records, r.Usage)
		owners[r.APIID] = r.owner
		if r.KeyID != "" && r.Time.After(used[r.KeyID]) {
			used[r.KeyID] = r.Time
		}
	}
	owner := func(apiID string) string { return owners[apiID] }
	all := store.SumUp(records, owner)
	for _, t := range []struct {
		table string
		sums  []store.Sum
	}{{"hours", all.Hours}, {"days", all.Days}} {
		if err := upsertSums(ctx, tx, t.table, t.sums); err != nil {
			return fmt.Errorf("add to the sums by %s: %w", t.table, err)
		}
	}
	if err := upsertRoutes(ctx, tx, all.Routes); err != nil {
		return err
	}
	if err := touchKeys(ctx, tx, used); err != nil {
		return err
	}
	// Last, because all nodes write to these rows: the others wait from here to the commit alone.
	return upsertTotals(ctx, tx, all.Totals)
}

func touchKeys(ctx context.Context, tx pgx.Tx, used map[string]time.Time) error {
	if len(used) == 0 {
		return nil
	}
	ids := slices.Sorted(maps.Keys(used))
	times := make([]int64, len(ids))
	for i, id := range ids {
		times[i] = used[id].UnixMicro()
	}
	_, err := tx.Exec(ctx, `INSERT INTO apibuilder_key_uses AS k (key_id, last_used_at) SELECT * FROM unnest($1::text[], $2::bigint[])
		ON CONFLICT (key_id) DO UPDATE SET last_used_at = greatest(k.last_used_at, excluded.last_used_at)`, ids, times)
	if err != nil {
		return fmt.Errorf("tell keys when they were used: %w", err)
	}
	return nil
}

func upsertSums(ctx context.Context, tx pgx.Tx, table string, sums []store.Sum) error {
	slices.SortFunc(sums, func(a, b store.Sum) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.APIID, b.APIID), cmp.Compare(a.KeyID, b.KeyID), cmp.Compare(a.UserID, b.UserID))
	})
	var api, key, user []string
	for _, s := range sums {
		api, key, user = append(api, s.APIID), append(key, s.KeyID), append(user, s.UserID)
	}
	start, n := columnsOf(sums)
	_, err := tx.Exec(ctx, `INSERT INTO apibuilder_usage_`+table+` AS s (start, api_id, key_id, user_id, `+store.SumColumns+`)
		SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
			$9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[])
		ON CONFLICT (start, api_id, key_id, user_id) DO UPDATE SET `+sumUpdates(store.SumColumns),
		start, api, key, user, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8])
	return err
}

func upsertRoutes(ctx context.Context, tx pgx.Tx, sums []store.Sum) error {
	slices.SortFunc(sums, func(a, b store.Sum) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.APIID, b.APIID), cmp.Compare(a.UserID, b.UserID), cmp.Compare(a.Route, b.Route))
	})
	var api, user, route []string
	for _, s := range sums {
		api, user, route = append(api, s.APIID), append(user, s.UserID), append(route, s.Route)
	}
	start, n := columnsOf(sums)
	_, err := tx.Exec(ctx, `INSERT INTO apibuilder_usage_routes AS s (start, api_id, user_id, route, `+store.SumColumns+`)
		SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
			$9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[])
		ON CONFLICT (start, api_id, user_id, route) DO UPDATE SET `+sumUpdates(store.SumColumns),
		start, api, user, route, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8])
	if err != nil {
		return fmt.Errorf("add to the sums by route: %w", err)
	}
	return nil
}

func upsertTotals(ctx context.Context, tx pgx.Tx, sums []store.Sum) error {
	slices.SortFunc(sums, func(a, b store.Sum) int { return a.Start.Compare(b.Start) })
	start, n := columnsOf(sums)
	_, err := tx.Exec(ctx, `INSERT INTO apibuilder_usage_totals AS s (start, `+store.SumColumns+`)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
			$9::bigint[], $10::bigint[])
		ON CONFLICT (start) DO UPDATE SET `+sumUpdates(store.SumColumns), start, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8])
	if err != nil {
		return fmt.Errorf("add to the sums of everything: %w", err)
	}
	return nil
}

// columnsOf returns where sums begin, and their numbers by column.
func columnsOf(sums []store.Sum) (start []int64, n [9][]int64) {
	for _, s := range sums {
		start = append(start, s.Start.UnixMicro())
		for i, v := range []int64{
			s.Requests, s.Admitted, s.ClientErrors, s.ServerErrors, s.BytesIn, s.BytesOut, s.Duration.Microseconds(),
			s.StartWait.Microseconds(), s.CPU.Microseconds(),
		} {
			n[i] = append(n[i], v)
		}
	}
	return start, n
}

// sumUpdates adds columns to what is there, which is called s.
func sumUpdates(columns string) string {
	var updates []string
	for c := range strings.SplitSeq(columns, ", ") {
		updates = append(updates, fmt.Sprintf("%s = least(s.%s + excluded.%s, %d)", c, c, c, int64(store.MostSum)))
	}
	return strings.Join(updates, ", ")
}

// SumUsage is as in store.Store.
func (s *Store) SumUsage(ctx context.Context, f store.SumFilter) (all []store.Sum, err error) {
	if !storable(f.APIID + f.KeyID + f.UserID) {
		return []store.Sum{}, nil
	}
	query, args, err := sumQuery(f)
	if err != nil {
		return nil, fmt.Errorf("sum usage: %w", err)
	}
	err = s.read(ctx, func() error {
		all, err = list(ctx, s.pool, func(r pgx.Rows) (store.Sum, error) { return scanSum(r, f.By) }, query, args...)
		return err
	})
	return all, err
}

func sumQuery(f store.SumFilter) (string, []any, error) {
	_, where, err := f.Columns()
	if err != nil {
		return "", nil, err
	}
	hours, days := f.Spans()
	if f.ByHourAlone() {
		return `SELECT start, '', '', '', '', ` + store.SumColumns + ` FROM apibuilder_usage_totals WHERE start >= $1::bigint ORDER BY start`,
			[]any{store.SinceMicros(hours)}, nil
	}
	terms, args := termsOf(where, store.SinceMicros(hours), store.SinceMicros(days))
	from := `SELECT * FROM apibuilder_usage_hours WHERE start >= $1::bigint` + terms
	switch f.By {
	case store.ByHour:
		from += ` AND $2::bigint IS NOT NULL` // every argument must have a place
	case store.ByRoute:
		from = `SELECT * FROM apibuilder_usage_routes WHERE start >= $1::bigint AND $2::bigint IS NOT NULL` + terms
	default:
		from += ` AND start < $2::bigint UNION ALL SELECT * FROM apibuilder_usage_days WHERE start >= $2::bigint` + terms
	}
	query, err := f.Statement(from, "NULL::bigint", total)
	return query, args, err
}

// termsOf is what a filter's columns must be, to stand behind another condition, with the arguments after those given.
func termsOf(where map[string]any, args ...any) (string, []any) {
	var terms string
	for _, column := range slices.Sorted(maps.Keys(where)) {
		args = append(args, where[column])
		terms += " AND " + column + " = $" + strconv.Itoa(len(args))
	}
	return terms, args
}

// total is the sum of a column, as far as a sum goes.
func total(column string) string {
	return fmt.Sprintf("least(coalesce(sum(%s), 0), %d)::bigint", column, int64(store.MostSum))
}

func scanSum(rows pgx.Rows, by store.SumBy) (store.Sum, error) {
	var s store.Sum
	var start *int64
	var duration, wait, cpu int64
	err := rows.Scan(&start, &s.APIID, &s.KeyID, &s.UserID, &s.Route, &s.Requests, &s.Admitted, &s.ClientErrors, &s.ServerErrors, &s.BytesIn,
		&s.BytesOut, &duration, &wait, &cpu)
	if by == store.ByHour || by == store.ByDay {
		s.Start = fromMicros(start)
	}
	s.Duration, s.StartWait, s.CPU = store.Micros(duration), store.Micros(wait), store.Micros(cpu)
	return s, err
}

// CountUsage is as in store.Store. What is older than the first whole hour is counted by its records.
func (s *Store) CountUsage(ctx context.Context, apiID, keyID string, since time.Time) (n int64, err error) {
	f := store.SumFilter{APIID: apiID, KeyID: keyID}
	if !since.IsZero() {
		f.Since = since.UTC().Add(time.Hour - 1).Truncate(time.Hour)
	}
	sums, err := s.SumUsage(ctx, f)
	if err != nil || since.IsZero() || !storable(apiID) || !storable(keyID) {
		return store.Requests(sums), err
	}
	where, args := usageWhere(apiID, keyID, since)
	args = append(args, f.Since.UnixMicro())
	err = s.read(ctx, func() error {
		return s.pool.QueryRow(ctx, `SELECT count(*) FROM apibuilder_usage`+where+` AND time < $`+strconv.Itoa(len(args)), args...).Scan(&n)
	})
	return n + store.Requests(sums), err
}

// PruneUsage is as in store.Store. How long ago something was the database's clock says, where it is behind this machine's: other nodes' records
// are there too, and a wrong clock of one must not make them old.
func (s *Store) PruneUsage(ctx context.Context, records, hours time.Time, most int) (n int64, err error) {
	err = s.read(ctx, func() error {
		ahead, err := s.ahead(ctx)
		if err != nil {
			return err
		}
		for _, t := range []*time.Time{&records, &hours} {
			if !t.IsZero() {
				*t = t.Add(-max(ahead, 0))
			}
		}
		tag, err := s.pool.Exec(ctx, `DELETE FROM apibuilder_usage WHERE seq = ANY (ARRAY (SELECT seq FROM apibuilder_usage
			WHERE time < $1::bigint ORDER BY time, seq LIMIT $2::bigint))`, store.SinceMicros(records), most)
		if err != nil {
			return err
		}
		n = tag.RowsAffected()
		tag, err = s.pool.Exec(ctx, `DELETE FROM apibuilder_usage_hours WHERE (start, api_id, key_id, user_id) IN
			(SELECT start, api_id, key_id, user_id FROM apibuilder_usage_hours WHERE start < $1::bigint ORDER BY start LIMIT $2::bigint)`,
			store.SinceMicros(hours), most)
		if err != nil {
			return err
		}
		n += tag.RowsAffected()
		if _, err = s.pool.Exec(ctx, `DELETE FROM apibuilder_usage_routes WHERE start < $1::bigint`, store.SinceMicros(hours)); err != nil {
			return err
		}
		if _, err = s.pool.Exec(ctx, `DELETE FROM apibuilder_usage_totals WHERE start < $1::bigint`, store.SinceMicros(hours)); err != nil {
			return err
		}
		if _, err = s.pool.Exec(ctx, `DELETE FROM apibuilder_egress_hours WHERE start < $1::bigint`, store.SinceMicros(hours)); err != nil {
			return err
		}
		if _, err = s.pool.Exec(ctx, `DELETE FROM apibuilder_egress_sources WHERE at < $1::bigint`, store.SinceMicros(hours)); err != nil {
			return err
		}
		_, err = s.pool.Exec(ctx, `DELETE FROM apibuilder_key_uses WHERE last_used_at < $1::bigint
			AND key_id NOT IN (SELECT id FROM apibuilder_keys)`, store.SinceMicros(records))
		return err
	})
	if err != nil {
		return n, fmt.Errorf("prune usage: %w", err)
	}
	return n, nil
}
