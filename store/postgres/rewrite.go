package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

// RewriteEnv is as in sealed.Rewriter. An environment that another node changes meanwhile keeps what that one wrote. What was there
// before is in dead rows until the server's vacuum.
func (s *Store) RewriteEnv(
	ctx context.Context, fn func(apiID string, number int, env map[string]string) (map[string]string, error),
) (changed int, err error) {
	err = s.write(ctx, func(u *unit) error {
		scan := func(r pgx.Rows) (one store.EnvRow, err error) { return one, r.Scan(&one.APIID, &one.Number, &one.Text) }
		next := func(after store.EnvRow, most int) ([]store.EnvRow, error) {
			return list(ctx, u, scan,
				`SELECT api_id, number, env FROM apibuilder_versions WHERE env <> '{}' AND (api_id, number) > ($1, $2)
					ORDER BY api_id, number LIMIT $3`, after.APIID, after.Number, most)
		}
		changed, err = store.RewriteEnvs(next, func(r store.EnvRow, text string) (int, error) {
			tag, err := u.Exec(ctx, `UPDATE apibuilder_versions SET env = $1 WHERE api_id = $2 AND number = $3 AND env = $4`, text, r.APIID, r.Number, r.Text)
			return int(tag.RowsAffected()), err
		}, fn)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("rewrite environments: %w", err)
	}
	return changed, nil
}
