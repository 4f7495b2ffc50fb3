package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

// HasAPIs is as in store.Store.
func (s *Store) HasAPIs(ctx context.Context) (any bool, err error) {
	err = s.read(ctx, func() error {
		return s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM apibuilder_apis)`).Scan(&any)
	})
	return any, err
}

// Building is as in store.Store.
func (s *Store) Building(ctx context.Context) (all []store.Version, err error) {
	err = s.read(ctx, func() error {
		all, err = list(ctx, s.pool, scanVersion,
			`SELECT `+versionColumns+` FROM apibuilder_versions WHERE state = $1 ORDER BY api_id, number`, string(store.VersionBuilding))
		return err
	})
	return all, err
}

// EnvironmentUses is as in store.Store.
func (s *Store) EnvironmentUses(ctx context.Context) (all []store.EnvironmentUse, err error) {
	err = s.read(ctx, func() error {
		all, err = list(ctx, s.pool, scanUse, `SELECT v.environment, a.name, v.number FROM apibuilder_versions v
			JOIN apibuilder_apis a ON a.id = v.api_id WHERE v.environment <> '' ORDER BY a.name, v.number`)
		return err
	})
	return all, err
}

func scanUse(rows pgx.Rows) (u store.EnvironmentUse, err error) {
	return u, rows.Scan(&u.Environment, &u.API, &u.Version)
}
