package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

const apiColumns = `id, name, user_id, public, public_docs, code_snapshot, requirements, active_version, rate_requests,
	rate_per_ns, options, created_at, updated_at`

func scanAPI(rows pgx.Rows) (store.API, error) {
	var a store.API
	var options []byte
	var created, updated *int64
	err := rows.Scan(&a.ID, &a.Name, &a.UserID, &a.Public, &a.PublicDocs, &a.CodeSnapshot, &a.Requirements,
		&a.ActiveVersion, &a.Rate.Requests, &a.Rate.Per, &options, &created, &updated)
	if err != nil {
		return store.API{}, err
	}
	a.CreatedAt, a.UpdatedAt = fromMicros(created), fromMicros(updated)
	a.Options, err = store.DecodeOptions(options)
	return a, err
}

// CreateAPI is as in store.Store; a new API has no active version, whatever a says.
func (s *Store) CreateAPI(ctx context.Context, a store.API) (store.API, error) {
	if err := a.Valid(); err != nil {
		return store.API{}, fmt.Errorf("create api: %w", err)
	}
	options, err := store.EncodeOptions(a.Options)
	if err != nil {
		return store.API{}, fmt.Errorf("create api: %w", err)
	}
	a.ActiveVersion = 0
	a.CreatedAt = store.Stamp(a.CreatedAt)
	a.UpdatedAt = store.Stamp(a.UpdatedAt)
	err = s.write(ctx, func(u *unit) error {
		if err := checkUser(ctx, u, a.UserID); err != nil {
			return err
		}
		if err := checkAddresses(ctx, u, a); err != nil {
			return err
		}
		if err := checkHost(ctx, u, a); err != nil {
			return err
		}
		_, err := u.Exec(ctx, `INSERT INTO apibuilder_apis (`+apiColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			a.ID, a.Name, a.UserID, a.Public, a.PublicDocs, a.CodeSnapshot, a.Requirements, a.ActiveVersion,
			a.Rate.Requests, int64(a.Rate.Per), options, micros(a.CreatedAt), micros(a.UpdatedAt))
		u.changed(a.ID)
		return about("api", a.Name, err)
	})
	if err != nil {
		return store.API{}, fmt.Errorf("create api: %w", err)
	}
	return a, nil
}

// checkAddresses refuses a name that is another API's id, and an id that is another's name. Those who make APIs take turns until their
// transactions end, because no index sees to it.
func checkAddresses(ctx context.Context, u *unit, a store.API) error {
	_, err := u.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('apibuilder addresses of ' || current_schema(), 0))")
	var taken bool
	if err == nil {
		err = u.QueryRow(ctx, "SELECT EXISTS (SELECT FROM apibuilder_apis WHERE id <> $1 AND (id = $2 OR name = $1))", a.ID, a.Name).Scan(&taken)
	}
	if err == nil && taken {
		err = store.ErrConflict
	}
	return about("api", a.Name, err)
}

// API is as in store.Store.
func (s *Store) API(ctx context.Context, idOrName string) (a store.API, err error) {
	err = s.read(ctx, func() error {
		a, err = findAPI(ctx, s.pool, "WHERE id = $1 OR name = $1 ORDER BY id = $1 DESC LIMIT 1", idOrName)
		return err
	})
	return a, err
}

func findAPI(ctx context.Context, q queryer, where, id string) (store.API, error) {
	if !storable(id) {
		return store.API{}, about("api", id, store.ErrNotFound)
	}
	a, err := first(ctx, q, scanAPI, `SELECT `+apiColumns+` FROM apibuilder_apis `+where, id)
	return a, about("api", id, err)
}

// APIs is as in store.Store.
func (s *Store) APIs(ctx context.Context) (all []store.API, err error) {
	err = s.read(ctx, func() error {
		all, err = list(ctx, s.pool, scanAPI, `SELECT `+apiColumns+` FROM apibuilder_apis ORDER BY name`)
		return err
	})
	return all, err
}

// FindAPIs is as in store.Store.
func (s *Store) FindAPIs(ctx context.Context, f store.APIFilter) (all []store.API, err error) {
	if !storable(f.Name) || !storable(f.UserID) || !storable(f.After) {
		return []store.API{}, nil
	}
	var where store.Where
	if f.Name != "" {
		where.Add("strpos(name, ?) > 0", f.Name)
	}
	where.Is("user_id", f.UserID)
	switch f.State {
	case store.APIDeploying:
		where.Add("active_version = 0")
	case store.APIServing:
		where.Add("active_version <> 0")
	}
	if f.Public != nil {
		where.Add("public = ?", *f.Public)
	}
	if f.After != "" {
		where.Add("name > ?", f.After)
	}
	query := `SELECT ` + strings.Replace(apiColumns, "code_snapshot, requirements", "'', ''", 1) + ` FROM apibuilder_apis` + where.String() + ` ORDER BY name`
	err = s.read(ctx, func() error {
		all, err = list(ctx, s.pool, scanAPI, store.Numbered(store.Limited(query, f.Limit)), where.Args...)
		return err
	})
	return all, err
}

// ChangeAPI is as in store.Store.
func (s *Store) ChangeAPI(ctx context.Context, id string, change func(store.API) (store.API, error)) (store.API, error) {
	var updated store.API
	err := s.write(ctx, func(u *unit) (err error) {
		if updated, err = findAPI(ctx, u, "WHERE id = $1 FOR UPDATE", id); err != nil {
			return err
		}
		a, err := change(updated)
		if err != nil {
			return err
		}
		a.ID = id
		if err := checkUser(ctx, u, a.UserID); err != nil {
			return err
		}
		if err := checkHost(ctx, u, a); err != nil {
			return err
		}
		options, err := store.EncodeOptions(a.Options)
		if err != nil {
			return err
		}
		updated.Public, updated.PublicDocs, updated.Rate, updated.UserID = a.Public, a.PublicDocs, a.Rate, a.UserID
		updated.Options = a.Options
		updated.UpdatedAt = store.Stamp(noTime)
		_, err = u.Exec(ctx, `UPDATE apibuilder_apis SET public = $1, public_docs = $2, rate_requests = $3, rate_per_ns = $4,
			options = $5, user_id = $6, updated_at = $7 WHERE id = $8`, updated.Public, updated.PublicDocs, updated.Rate.Requests,
			int64(updated.Rate.Per), options, updated.UserID, micros(updated.UpdatedAt), updated.ID)
		u.changed(id)
		return about("api", id, err)
	})
	if err != nil {
		return store.API{}, fmt.Errorf("change api: %w", err)
	}
	return updated, nil
}

// DeleteAPI is as in store.Store.
func (s *Store) DeleteAPI(ctx context.Context, id string, checks ...store.Check[store.API]) error {
	err := s.write(ctx, func(u *unit) error {
		if len(checks) > 0 {
			now, err := findAPI(ctx, u, "WHERE id = $1 FOR UPDATE", id)
			if err == nil {
				err = store.Pass(now, checks)
			}
			if err != nil {
				return err
			}
		}
		u.changed(id)
		return about("api", id, must(u.Exec(ctx, `DELETE FROM apibuilder_apis WHERE id = $1`, id)))
	})
	if err != nil {
		return fmt.Errorf("delete api: %w", err)
	}
	return nil
}
