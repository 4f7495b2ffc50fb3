package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"apibuilder/store"
)

// rewrittenAtOnce is how many environments are in memory at a time.
const rewrittenAtOnce = 100

type envRow struct {
	apiID  string
	number int
	text   string
}

// RewriteEnv is as in sealed.Rewriter. What was there before is overwritten in the file, not only forgotten.
func (s *Store) RewriteEnv(
	ctx context.Context, fn func(apiID string, number int, env map[string]string) (map[string]string, error),
) (changed int, err error) {
	if err := s.secureDelete(ctx, true); err != nil {
		return 0, fmt.Errorf("rewrite environments: %w", err)
	}
	err = s.write(ctx, func(u *unit) error {
		last := envRow{}
		for {
			rows, err := list(ctx, u, func(r *sql.Rows) (one envRow, err error) { return one, r.Scan(&one.apiID, &one.number, &one.text) },
				`SELECT api_id, number, env FROM versions WHERE env <> '{}' AND (api_id, number) > (?, ?) ORDER BY api_id, number LIMIT ?`,
				last.apiID, last.number, rewrittenAtOnce)
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
	err = errors.Join(err, s.secureDelete(context.WithoutCancel(ctx), false))
	if err == nil && changed > 0 { // the log of writes holds old pages too
		_, err = s.writer.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	}
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
	_, err = u.ExecContext(ctx, `UPDATE versions SET env = ? WHERE api_id = ? AND number = ?`, text, r.apiID, r.number)
	return 1, err
}

func (s *Store) secureDelete(ctx context.Context, on bool) error {
	_, err := s.writer.ExecContext(ctx, fmt.Sprintf("PRAGMA secure_delete = %t", on))
	return err
}
