package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

// A quota lies at most so much further ahead than its whole burst; more is there only when the clock went back or the limit was
// changed. It is the longest time that permits are valid.
const mostAhead = 2 * time.Second

// The clock is read when the row is locked, not when the statement begins. One statement that locks several rows locks them in
// the order of their names, as all others do, so that none waits for one that waits for it. What it computes is in
// docs/decisions/0036.
const leaseSQL = `WITH asked AS (
	SELECT a.*, c.now FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) AS a (name, step, burst, valid, want),
		LATERAL (SELECT a.want, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000 AS now OFFSET 0) AS c
	ORDER BY a.name
)
INSERT INTO apibuilder_permits AS p (name, full_at_ns, at_ns, granted, step_ns, burst, valid_ns)
SELECT name, now + valid + least(want, burst) * step, now, least(want, burst), step, burst, valid FROM asked
ON CONFLICT (name) DO UPDATE SET (full_at_ns, at_ns, granted, step_ns, burst, valid_ns) = (
	SELECT CASE WHEN g.granted = 0 THEN g.full_at ELSE greatest(g.full_at, g.now + excluded.valid_ns) + g.granted * excluded.step_ns END,
		g.now, g.granted, excluded.step_ns, excluded.burst, excluded.valid_ns
	FROM (
		SELECT f.now, f.full_at, least(excluded.granted,
			CASE WHEN f.full_at <= f.now THEN excluded.burst
				ELSE greatest((f.now + excluded.burst * excluded.step_ns - f.full_at) / excluded.step_ns, 0) END) AS granted
		FROM (
			SELECT c.now, least(p.full_at_ns, c.now + excluded.burst * excluded.step_ns + $6::bigint) AS full_at
			FROM (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000 AS now OFFSET 0) AS c
		) AS f
	) AS g
)
RETURNING name, full_at_ns, at_ns, granted, step_ns, burst`

// LeasePermits gives permits of rate limits that all nodes share, all that are asked for in one statement. The names of one
// call differ. Answers are in the order of the questions.
func (s *Store) LeasePermits(ctx context.Context, asks []store.PermitAsk) ([]store.PermitGrant, error) {
	names := make([]string, len(asks))
	numbers := [4][]int64{}
	for i, a := range asks {
		names[i] = store.CleanText(a.Name)
		for n, v := range []int64{int64(a.Step), a.Burst, int64(a.Valid), a.Want} {
			numbers[n] = append(numbers[n], v)
		}
	}
	var rows []leased
	err := s.read(ctx, func() (err error) {
		rows, err = list(ctx, s.pool, scanLeased, leaseSQL, names, numbers[0], numbers[1], numbers[2], numbers[3],
			int64(mostAhead))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lease permits: %w", err)
	}
	found := make(map[string]leased, len(rows))
	for _, r := range rows {
		found[r.name] = r
	}
	grants := make([]store.PermitGrant, len(asks))
	for i, name := range names {
		r, ok := found[name]
		if !ok {
			return nil, fmt.Errorf("lease permits: the database returned %d rows for %d questions", len(rows), len(asks))
		}
		grants[i] = r.grant()
	}
	return grants, nil
}

// leased is a row after it was asked.
type leased struct {
	name                             string
	fullAt, at, granted, step, burst int64
}

func scanLeased(rows pgx.Rows) (r leased, err error) {
	return r, rows.Scan(&r.name, &r.fullAt, &r.at, &r.granted, &r.step, &r.burst)
}

func (r leased) grant() store.PermitGrant {
	g := store.PermitGrant{Granted: r.granted, Left: r.burst, Full: time.Duration(max(r.fullAt-r.at, 0))}
	if r.fullAt > r.at {
		ahead := r.at + r.burst*r.step - r.fullAt
		g.Left = max(ahead/r.step, 0)
		if g.Left == 0 {
			g.Retry = time.Duration(r.step - ahead)
		}
	}
	return g
}

// purgePermits forgets limits that nobody has used for long; what is forgotten was full. It passes over rows that are in use.
func (s *Store) purgePermits(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM apibuilder_permits WHERE name IN (SELECT name FROM apibuilder_permits
		WHERE full_at_ns < floor(extract(epoch FROM now() - make_interval(secs => $1)) * 1000000)::bigint * 1000
		ORDER BY name LIMIT 10000 FOR UPDATE SKIP LOCKED)`, keptChanges.Seconds())
	return err
}
