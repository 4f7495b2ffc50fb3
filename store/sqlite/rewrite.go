package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"apibuilder/store"
)

// RewriteEnv is as in sealed.Rewriter. What was there before is overwritten in the file, not only forgotten.
func (s *Store) RewriteEnv(
	ctx context.Context, fn func(apiID string, number int, env map[string]string) (map[string]string, error),
) (changed int, err error) {
	if err := s.secureDelete(ctx, true); err != nil {
		return 0, fmt.Errorf("rewrite environments: %w", err)
	}
	err = s.write(ctx, func(u *unit) error {
		scan := func(r *sql.Rows) (one store.EnvRow, err error) {
			return one, r.Scan(&one.APIID, &one.Number, &one.Text)
		}
		next := func(after store.EnvRow, most int) ([]store.EnvRow, error) {
			return list(ctx, u, scan,
				`SELECT api_id, number, env FROM versions WHERE env <> '{}' AND (api_id, number) > (?, ?) ORDER BY api_id, number LIMIT ?`,
				after.APIID, after.Number, most)
		}
		changed, err = store.RewriteEnvs(next, func(r store.EnvRow, text string) (int, error) {
			_, err := u.ExecContext(ctx, `UPDATE versions SET env = ? WHERE api_id = ? AND number = ?`, text, r.APIID, r.Number)
			return 1, err
		}, fn)
		return err
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
