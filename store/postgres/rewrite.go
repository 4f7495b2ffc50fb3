package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

// rewrittenAtOnce is how many environments are in memory at a time.
const rewrittenAtOnce = 100

type envRow struct {
	apiID  string
	number int
	text   string
}

// RewriteEnv is as in sealed.Rewriter. An environment that another node changes meanwhile keeps what that one wrote. What was there
// before is in dead rows until the server's vacuum.
func (s *Store) RewriteEnv(
	ctx context.Context, fn func(apiID string, number int, env map[string]string) (map[string]string, error),
) (changed int, err error) {
	err = s.write(ctx, func(u *unit) error {
		changed = 0
		last := envRow{}
		for {
			rows, err := list(ctx, u, func(r pgx.Rows) (one envRow, err error) { return one, r.Scan(&one.apiID, &one.number, &one.text) },
				`SELECT api_id, number, env FROM apibuilder_versions WHERE env <> '{}' AND (api_id, number) > ($1, $2)
					ORDER BY api_id, number LIMIT $3`, last.apiID, last.number, rewrittenAtOnce)
			if err != nil {
				return err
			}
			for _, r := range rows {
				n, err := rewrite(ctx, u, r, fn)
				if err != nil {
					return err
				}
				changed += n
			}
			if len(rows) < rewrittenAtOnce {
				return nil
			}
			last = rows[len(rows)-1]
		}
	})
	if err != nil {
		return 0, fmt.Errorf("rewrite environments: %w", err)
	}
	return changed, nil
}

// rewrite gives one environment to fn, and returns how many were changed.
func rewrite(
	ctx context.Context, u *unit, r envRow, fn func(apiID string, number int, env map[string]string) (map[string]string, error),
) (changed int, err error) {
	text, err := store.RewrittenEnv(r.text, func(env map[string]string) (map[string]string, error) { return fn(r.apiID, r.number, env) })
	if err != nil || text == r.text {
		return 0, err
	}
	tag, err := u.Exec(ctx, `UPDATE apibuilder_versions SET env = $1 WHERE api_id = $2 AND number = $3 AND env = $4`, text, r.apiID, r.number, r.text)
	return int(tag.RowsAffected()), err
}
