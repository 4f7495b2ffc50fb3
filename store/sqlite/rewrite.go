package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"apibuilder/store"
)

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
		rows, err := list(ctx, u, func(r *sql.Rows) (one envRow, err error) { return one, r.Scan(&one.apiID, &one.number, &one.text) },
			`SELECT api_id, number, env FROM versions WHERE env <> '{}' ORDER BY api_id, number`)
		if err != nil {
			return err
		}
		for _, r := range rows {
			text, err := store.RewrittenEnv(r.text, func(env map[string]string) (map[string]string, error) { return fn(r.apiID, r.number, env) })
			if err != nil {
				return err
			}
			if text == r.text {
				continue
			}
			changed++
			if _, err := u.ExecContext(ctx, `UPDATE versions SET env = ? WHERE api_id = ? AND number = ?`, text, r.apiID, r.number); err != nil {
				return err
			}
		}
		return nil
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

func (s *Store) secureDelete(ctx context.Context, on bool) error {
	_, err := s.writer.ExecContext(ctx, fmt.Sprintf("PRAGMA secure_delete = %t", on))
	return err
}
