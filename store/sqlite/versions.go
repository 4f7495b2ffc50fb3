package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"maps"

	"apibuilder/store"
)

const versionColumns = `api_id, number, code, requirements, python, env, memory_bytes, cpu, pids, state, environment,
	lock, failure, detail, created_at, node, bundle, entry, files, file_bytes`

func scanVersion(rows *sql.Rows) (store.Version, error) {
	var v store.Version
	var env []byte
	var created sql.NullInt64
	err := rows.Scan(&v.APIID, &v.Number, &v.Code, &v.Requirements, &v.Python, &env, &v.Limits.MemoryBytes,
		&v.Limits.CPU, &v.Limits.Pids, &v.State, &v.Environment, &v.Lock, &v.Failure, &v.Detail, &created, &v.Node,
		&v.Bundle, &v.Entry, &v.Files, &v.FileBytes)
	if err != nil {
		return v, err
	}
	v.CreatedAt = fromMicros(created)
	v.Env, err = store.DecodeEnv(env)
	return v, err
}

// summaryColumns reads no code: its length is in the row's head.
const summaryColumns = `api_id, number, requirements, python, memory_bytes, cpu, pids, state, environment, failure, detail, created_at,
	node, bundle, entry, files, file_bytes, octet_length(code)`

func scanSummary(rows *sql.Rows) (store.VersionSummary, error) {
	var v store.VersionSummary
	var created sql.NullInt64
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
		var last int
		err := u.QueryRowContext(ctx, `SELECT coalesce(max(number), 0) FROM versions WHERE api_id = ?`, v.APIID).Scan(&last)
		if err != nil {
			return err
		}
		v.Number = last + 1
		_, err = u.ExecContext(ctx,
			`INSERT INTO versions (`+versionColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			v.APIID, v.Number, v.Code, v.Requirements, v.Python, env, v.Limits.MemoryBytes, v.Limits.CPU, v.Limits.Pids,
			v.State, v.Environment, v.Lock, v.Failure, v.Detail, micros(v.CreatedAt), v.Node,
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
		old, err := findVersion(ctx, u, v.APIID, v.Number)
		if err != nil {
			return err
		}
		if v, err = v.Succeed(old); err != nil {
			return err
		}
		u.changed(v.APIID)
		return must(u.ExecContext(ctx, `UPDATE versions SET state = ?, environment = ?, lock = ?, failure = ?, detail = ?
			WHERE api_id = ? AND number = ?`, v.State, v.Environment, v.Lock, store.CleanText(v.Failure), store.CleanText(v.Detail),
			v.APIID, v.Number))
	})
	if err != nil {
		return fmt.Errorf("update version: %w", err)
	}
	return nil
}

// Version is as in store.Store.
func (s *Store) Version(ctx context.Context, apiID string, number int) (v store.Version, err error) {
	err = s.read(func() error {
		v, err = findVersion(ctx, s.reader, apiID, number)
		return err
	})
	return v, err
}

func findVersion(ctx context.Context, q queryer, apiID string, number int) (store.Version, error) {
	v, err := first(ctx, q, scanVersion, `SELECT `+versionColumns+` FROM versions WHERE api_id = ? AND number = ?`,
		apiID, number)
	if err != nil {
		return v, fmt.Errorf("version %d of %w", number, about("api", apiID, err))
	}
	return v, nil
}

// FindVersions is as in store.Store.
func (s *Store) FindVersions(ctx context.Context, f store.VersionFilter) (all []store.VersionSummary, err error) {
	where := f.Where()
	query := store.Limited(`SELECT `+summaryColumns+` FROM versions`+where.String()+` ORDER BY number DESC`, f.Limit)
	err = s.read(func() error {
		all, err = list(ctx, s.reader, scanSummary, query, where.Args...)
		return err
	})
	return all, err
}

// Activate is as in store.Store.
func (s *Store) Activate(ctx context.Context, apiID string, number int) error {
	err := s.write(ctx, func(u *unit) error { return activate(ctx, u, apiID, number) })
	if err != nil {
		return fmt.Errorf("activate: %w", err)
	}
	return nil
}

func activate(ctx context.Context, u *unit, apiID string, number int) error {
	v, err := findVersion(ctx, u, apiID, number)
	if err != nil {
		return err
	}
	u.changed(apiID)
	return about("api", apiID, must(u.ExecContext(ctx, `UPDATE apis SET active_version = ?, code_snapshot = ?,
		requirements = ?, updated_at = ? WHERE id = ?`, number, v.Code, v.Requirements, micros(store.Stamp(noTime)), apiID)))
}
