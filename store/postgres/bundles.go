package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

// PutBundle is as in store.Store.
func (s *Store) PutBundle(ctx context.Context, apiID, hash string, archive []byte) error {
	err := store.ValidBundle(hash, archive)
	if err == nil && !storable(apiID) {
		err = about("api", apiID, store.ErrNotFound)
	}
	if err == nil {
		err = s.write(ctx, func(u *unit) error {
			_, err := u.Exec(ctx, `INSERT INTO apibuilder_bundles (api_id, hash, archive) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
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
	if !storable(apiID) || !storable(hash) {
		return nil, about("api", apiID, store.ErrNotFound)
	}
	err = s.read(ctx, func() error {
		archive, err = first(ctx, s.pool, func(r pgx.Rows) (b []byte, err error) { return b, r.Scan(&b) },
			`SELECT archive FROM apibuilder_bundles WHERE api_id = $1 AND hash = $2`, apiID, hash)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("files %.12s of %w", hash, about("api", apiID, err))
	}
	return archive, nil
}
