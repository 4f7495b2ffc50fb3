package postgres

import (
	"context"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

const versionColumns = `api_id, number, code, requirements, python, env, memory_bytes, cpu, pids, state, environment,
	lock, failure, detail, created_at, node, bundle, entry, files, file_bytes`

func scanVersion(rows pgx.Rows) (store.Version, error) {
	var v store.Version
	var env string
	var created *int64
	err := rows.Scan(&v.APIID, &v.Number, &v.Code, &v.Requirements, &v.Python, &env, &v.Limits.MemoryBytes,
		&v.Limits.CPU, &v.Limits.Pids, &v.State, &v.Environment, &v.Lock, &v.Failure, &v.Detail, &created, &v.Node,
		&v.Bundle, &v.Entry, &v.Files, &v.FileBytes)
	if err != nil {
		return v, err
	}
	v.CreatedAt = fromMicros(created)
	v.Env, err = store.DecodeEnv([]byte(env))
	return v, err
}

// summaryColumns reads no code: its length is in the row's head.
const summaryColumns = `api_id, number, requirements, python, memory_bytes, cpu, pids, state, environment, failure, detail, created_at,
	node, bundle, entry, files, file_bytes, octet_length(code)`

func scanSummary(rows pgx.Rows) (store.VersionSummary, error) {
	var v store.VersionSummary
	var created *int64
	err := rows.Scan(&v.APIID, &v.Number, &v.Requirements, &v.Python, &v.Limits.MemoryBytes, &v.Limits.CPU, &v.Limits.Pids, &v.State,
		&v.Environment, &v.Failure, &v.Detail, &created, &v.Node, &v.Bundle, &v.Entry, &v.Files, &v.FileBytes, &v.CodeBytes)
	v.CreatedAt = fromMicros(created)
	return v, err
}

// AddVersion is as in store.Store; an empty State is building.
func (s *Store) AddVersion(ctx context.Context, v store.Version) (store.Version, error) {
	if err := v.Valid(); err != nil {
		return store.Version{}, fmt.Errorf("add version: %w", err)
	}
	env, err := store.EncodeEnv(v.Env)
	if err != nil {
		return store.Version{}, fmt.Errorf("add version: %w", err)
	}
	if v.State == "" {
		v.State = store.VersionBuilding
	}
	v.Env = maps.Clone(v.Env)
	v.Failure, v.Detail = store.CleanText(v.Failure), store.CleanText(v.Detail)
	v.CreatedAt = store.Stamp(v.CreatedAt)
	err = s.write(ctx, func(u *unit) error {
		// One number at a time: who adds another waits here.
		if _, err := findAPI(ctx, u, "WHERE id = $1 FOR UPDATE", v.APIID); err != nil {
			return err
		}
		var last int
		err := u.QueryRow(ctx, `SELECT coalesce(max(number), 0) FROM apibuilder_versions WHERE api_id = $1`, v.APIID).Scan(&last)
		if err != nil {
			return err
		}
		v.Number = last + 1
		_, err = u.Exec(ctx,
			`INSERT INTO apibuilder_versions (`+versionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)`,
			v.APIID, v.Number, v.Code, v.Requirements, v.Python, env, v.Limits.MemoryBytes, v.Limits.CPU, v.Limits.Pids,
			string(v.State), v.Environment, v.Lock, v.Failure, v.Detail, micros(v.CreatedAt), v.Node,
			v.Bundle, v.Entry, v.Files, v.FileBytes)
		u.changed(v.APIID)
		return about("api", v.APIID, err)
	})
	if err != nil {
		return store.Version{}, fmt.Errorf("add version: %w", err)
	}
	return v, nil
}

// UpdateVersion is as in store.Store; for what cannot change see store.Version.Succeed.
func (s *Store) UpdateVersion(ctx context.Context, v store.Version) error {
	if err := v.Valid(); err != nil {
		return fmt.Errorf("update version: %w", err)
	}
	err := s.write(ctx, func(u *unit) error {
		old, err := findVersion(ctx, u, v.APIID, v.Number, "FOR UPDATE")
		if err != nil {
			return err
		}
		next, err := v.Succeed(old)
		if err != nil {
			return err
		}
		u.changed(v.APIID)
		return must(u.Exec(ctx, `UPDATE apibuilder_versions SET state = $1, environment = $2, lock = $3, failure = $4, detail = $5
			WHERE api_id = $6 AND number = $7`, string(next.State), next.Environment, next.Lock, store.CleanText(v.Failure),
			store.CleanText(v.Detail), v.APIID, v.Number))
	})
	if err != nil {
		return fmt.Errorf("update version: %w", err)
	}
	return nil
}

// Version is as in store.Store.
func (s *Store) Version(ctx context.Context, apiID string, number int) (v store.Version, err error) {
	err = s.read(ctx, func() error {
		v, err = findVersion(ctx, s.pool, apiID, number, "")
		return err
	})
	return v, err
}

func findVersion(ctx context.Context, q queryer, apiID string, number int, lock string) (store.Version, error) {
	if !storable(apiID) {
		return store.Version{}, about("api", apiID, store.ErrNotFound)
	}
	v, err := first(ctx, q, scanVersion, `SELECT `+versionColumns+` FROM apibuilder_versions WHERE api_id = $1 AND number = $2 `+lock,
		apiID, number)
	if err != nil {
		return v, fmt.Errorf("version %d of %w", number, about("api", apiID, err))
	}
	return v, nil
}

// FindVersions is as in store.Store.
func (s *Store) FindVersions(ctx context.Context, f store.VersionFilter) (all []store.VersionSummary, err error) {
	if !storable(f.APIID) || !storable(string(f.State)) {
		return []store.VersionSummary{}, nil
	}
	where := f.Where()
	query := store.Limited(`SELECT `+summaryColumns+` FROM apibuilder_versions`+where.String()+` ORDER BY number DESC`, f.Limit)
	err = s.read(ctx, func() error {
		all, err = list(ctx, s.pool, scanSummary, store.Numbered(query), where.Args...)
		return err
	})
	return all, err
}

// Activate is as in store.Store.
func (s *Store) Activate(ctx context.Context, apiID string, number int) error {
	err := s.write(ctx, func(u *unit) error { return s.activate(ctx, u, apiID, number) })
	if err != nil {
		return fmt.Errorf("activate: %w", err)
	}
	return nil
}

// activate locks our row before that of the table which is followed, as everybody does: two that take them in turn wait for each other.
func (s *Store) activate(ctx context.Context, u *unit, apiID string, number int) error {
	if !storable(apiID) {
		return about("api", apiID, store.ErrNotFound)
	}
	if _, err := u.Exec(ctx, "SELECT FROM apibuilder_apis WHERE id = $1 FOR UPDATE", apiID); err != nil {
		return err
	}
	v, err := findVersion(ctx, u, apiID, number, "")
	if err != nil {
		return err
	}
	u.changed(apiID)
	if err := s.rows.writeBack(ctx, u, apiID, v.Code, v.Requirements); err != nil {
		return err
	}
	return about("api", apiID, must(u.Exec(ctx, `UPDATE apibuilder_apis SET active_version = $1, code_snapshot = $2,
		requirements = $3, updated_at = $4 WHERE id = $5`, number, v.Code, v.Requirements, micros(store.Stamp(noTime)), apiID)))
}
