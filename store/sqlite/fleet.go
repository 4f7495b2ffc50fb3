package sqlite

import (
	"context"
	"database/sql"

	"apibuilder/store"
)

// HasAPIs is as in store.Store.
func (s *Store) HasAPIs(ctx context.Context) (any bool, err error) {
	err = s.read(func() error {
		return s.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM apis)`).Scan(&any)
	})
	return any, err
}

// Building is as in store.Store.
func (s *Store) Building(ctx context.Context) (all []store.Version, err error) {
	err = s.read(func() error {
		all, err = list(ctx, s.reader, scanVersion,
			`SELECT `+versionColumns+` FROM versions WHERE state = ? ORDER BY api_id, number`, store.VersionBuilding)
		return err
	})
	return all, err
}

// EnvironmentUses is as in store.Store.
func (s *Store) EnvironmentUses(ctx context.Context) (all []store.EnvironmentUse, err error) {
	err = s.read(func() error {
		all, err = list(ctx, s.reader, scanUse, `SELECT v.environment, a.name, v.number FROM versions v
			JOIN apis a ON a.id = v.api_id WHERE v.environment <> '' ORDER BY a.name, v.number`)
		return err
	})
	return all, err
}

func scanUse(rows *sql.Rows) (u store.EnvironmentUse, err error) {
	return u, rows.Scan(&u.Environment, &u.API, &u.Version)
}
