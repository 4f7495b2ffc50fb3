package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

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
		rows, err := list(ctx, u, func(r pgx.Rows) (one envRow, err error) { return one, r.Scan(&one.apiID, &one.number, &one.text) },
			`SELECT api_id, number, env FROM apibuilder_versions WHERE env <> '{}' ORDER BY api_id, number`)
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
			tag, err := u.Exec(ctx, `UPDATE apibuilder_versions SET env = $1 WHERE api_id = $2 AND number = $3 AND env = $4`,
				text, r.apiID, r.number, r.text)
			if err != nil {
				return err
			}
			changed += int(tag.RowsAffected())
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("rewrite environments: %w", err)
	}
	return changed, nil
}
