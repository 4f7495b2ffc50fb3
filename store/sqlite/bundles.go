package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"apibuilder/store"
)

// PutBundle is as in store.Store.
func (s *Store) PutBundle(ctx context.Context, apiID, hash string, archive []byte) error {
	err := store.ValidBundle(hash, archive)
	if err == nil {
		err = s.write(ctx, func(u *unit) error {
			_, err := u.ExecContext(ctx, `INSERT INTO bundles (api_id, hash, archive) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
				apiID, hash, archive)
			return about("api", apiID, err)
		})
	}
	if err != nil {
		return fmt.Errorf("keep the files of a program: %w", err)
	}
	return nil
}

// Bundle is as in store.Store.
func (s *Store) Bundle(ctx context.Context, apiID, hash string) (archive []byte, err error) {
	err = s.read(func() error {
		archive, err = first(ctx, s.reader, func(r *sql.Rows) (b []byte, err error) { return b, r.Scan(&b) },
			`SELECT archive FROM bundles WHERE api_id = ? AND hash = ?`, apiID, hash)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("files %.12s of %w", hash, about("api", apiID, err))
	}
	return archive, nil
}
