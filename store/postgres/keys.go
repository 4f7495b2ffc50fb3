package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

const keyColumns = `id, api_id, user_id, name, prefix, hash, rate_requests, rate_per_ns, quota, allow, created_at, expires_at,
	revoked_at, previous_prefix, previous_hash, previous_until`

const selectKeys = `SELECT ` + keyColumns + `, last_used_at FROM apibuilder_keys LEFT JOIN apibuilder_key_uses ON key_id = id `

func scanKey(rows pgx.Rows) (store.Key, error) {
	var k store.Key
	var hash, previous []byte
	var api, user *string
	var allow string
	var created, expires, revoked, until, used *int64
	err := rows.Scan(&k.ID, &api, &user, &k.Name, &k.Prefix, &hash, &k.Rate.Requests, &k.Rate.Per, &k.Quota, &allow, &created,
		&expires, &revoked, &k.PreviousPrefix, &previous, &until, &used)
	if err != nil {
		return k, err
	}
	k.APIID, k.UserID = orEmpty(api), orEmpty(user)
	k.CreatedAt, k.ExpiresAt, k.RevokedAt = fromMicros(created), fromMicros(expires), fromMicros(revoked)
	k.PreviousUntil, k.LastUsedAt = fromMicros(until), fromMicros(used)
	if k.Allow, err = store.DecodeAllow(allow); err != nil {
		return k, err
	}
	if previous != nil {
		if k.PreviousHash, err = store.DecodeHash(previous); err != nil {
			return k, err
		}
	}
	k.Hash, err = store.DecodeHash(hash)
	return k, err
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// CreateKey is as in store.Store; ErrConflict when the id or hash is taken, ErrNotFound when the API or user is missing.
func (s *Store) CreateKey(ctx context.Context, k store.Key) (store.Key, error) {
	allow, err := store.EncodeAllow(k.Allow)
	if err == nil {
		err = k.Valid()
	}
	if err != nil {
		return store.Key{}, fmt.Errorf("create key: %w", err)
	}
	k.CreatedAt = store.Stamp(k.CreatedAt)
	k.RevokedAt, k.ExpiresAt = fromMicros(micros(k.RevokedAt)), fromMicros(micros(k.ExpiresAt))
	k.PreviousPrefix, k.PreviousHash, k.PreviousUntil, k.LastUsedAt = "", [32]byte{}, time.Time{}, time.Time{}
	err = s.write(ctx, func(u *unit) error {
		if err := checkKeyOwner(ctx, u, k); err != nil {
			return err
		}
		_, err := u.Exec(ctx, `INSERT INTO apibuilder_keys (`+keyColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, '', NULL, NULL)`,
			k.ID, orNull(k.APIID), orNull(k.UserID), k.Name, k.Prefix, k.Hash[:], k.Rate.Requests, int64(k.Rate.Per), k.Quota, allow,
			micros(k.CreatedAt), micros(k.ExpiresAt), micros(k.RevokedAt))
		if err != nil {
			return about("key", k.ID, err)
		}
		return u.changedKey(ctx, k)
	})
	if err != nil {
		return store.Key{}, fmt.Errorf("create key: %w", err)
	}
	return k, nil
}

func checkKeyOwner(ctx context.Context, u *unit, k store.Key) error {
	if k.APIID == "" {
		return checkUser(ctx, u, k.UserID)
	}
	_, err := findAPI(ctx, u, "WHERE id = $1", k.APIID)
	return err
}

// changedKey tells of each API that a key opens, as the trigger does.
func (u *unit) changedKey(ctx context.Context, k store.Key) error {
	if k.APIID != "" {
		u.changed(k.APIID)
		return nil
	}
	ids, err := list(ctx, u, func(r pgx.Rows) (id string, err error) { return id, r.Scan(&id) },
		`SELECT id FROM apibuilder_apis WHERE user_id = $1`, k.UserID)
	for _, id := range ids {
		u.changed(id)
	}
	return err
}

// Keys is as in store.Store.
func (s *Store) Keys(ctx context.Context, apiID string) (all []store.Key, err error) {
	return s.keys(ctx, `WHERE api_id = $1 ORDER BY created_at, seq`, apiID)
}

// UserKeys is as in store.Store.
func (s *Store) UserKeys(ctx context.Context, userID string) (all []store.Key, err error) {
	return s.keys(ctx, `WHERE user_id = $1 ORDER BY created_at, seq`, userID)
}

func (s *Store) keys(ctx context.Context, where, id string) (all []store.Key, err error) {
	if !storable(id) {
		return []store.Key{}, nil
	}
	err = s.read(ctx, func() error {
		all, err = list(ctx, s.pool, scanKey, selectKeys+where, id)
		return err
	})
	return all, err
}

// FindKeys is as in store.Store.
func (s *Store) FindKeys(ctx context.Context, f store.KeyFilter) (all []store.Key, err error) {
	if !storable(f.APIID) || !storable(f.UserID) || !storable(f.ID) || !storable(f.Called) || !storable(f.Name) || !storable(f.After.ID) {
		return []store.Key{}, nil
	}
	var where store.Where
	where.Is("api_id", f.APIID)
	where.Is("user_id", f.UserID)
	where.Is("id", f.ID)
	if f.Called != "" {
		where.Add("prefix = ? OR name = ?", f.Called, f.Called)
	}
	if f.Name != "" {
		where.Add("strpos(name, ?) > 0", f.Name)
	}
	now := store.Stamp(f.Now).UnixMicro()
	switch f.State {
	case store.KeyValid:
		where.Add("revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)", now)
	case store.KeyEnded:
		where.Add("revoked_at IS NOT NULL OR expires_at <= ?", now)
	}
	where.After(f.After)
	query := store.Limited(selectKeys+where.String()+` ORDER BY created_at, id`, f.Limit)
	err = s.read(ctx, func() error {
		all, err = list(ctx, s.pool, scanKey, store.Numbered(query), where.Args...)
		return err
	})
	return all, err
}

// KeyByHash is as in store.Store.
func (s *Store) KeyByHash(ctx context.Context, hash [32]byte) (k store.Key, err error) {
	err = s.read(ctx, func() error {
		k, err = first(ctx, s.pool, scanKey, selectKeys+`WHERE hash = $1 OR previous_hash = $1`, hash[:])
		if err != nil {
			return fmt.Errorf("key by hash: %w", neutral(err))
		}
		return nil
	})
	return k, err
}

// RotateKey is as in store.Store.
func (s *Store) RotateKey(ctx context.Context, id, prefix string, hash [32]byte, until time.Time,
	checks ...store.Check[store.Key],
) (k store.Key, err error) {
	err = s.changeKey(ctx, id, &k, checks, func(u *unit) (err error) {
		if k, err = k.Rotate(prefix, hash, until); err != nil {
			return err
		}
		var taken bool // each of the two columns is unique, both together are not
		err = u.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM apibuilder_keys WHERE previous_hash = $1 OR hash = $1)`, hash[:]).Scan(&taken)
		if err == nil && taken {
			err = store.ErrConflict
		}
		if err != nil {
			return err
		}
		return must(u.Exec(ctx, `UPDATE apibuilder_keys SET prefix = $1, hash = $2, previous_prefix = $3, previous_hash = $4,
			previous_until = $5 WHERE id = $6`, k.Prefix, k.Hash[:], k.PreviousPrefix, store.EncodeHash(k.PreviousHash),
			micros(k.PreviousUntil), id))
	})
	if err != nil {
		return store.Key{}, fmt.Errorf("rotate key: %w", err)
	}
	return k, nil
}

// RevokeKey is as in store.Store.
func (s *Store) RevokeKey(ctx context.Context, id string, checks ...store.Check[store.Key]) (k store.Key, err error) {
	err = s.changeKey(ctx, id, &k, checks, func(u *unit) error {
		if !k.RevokedAt.IsZero() {
			return nil
		}
		k.RevokedAt = store.Stamp(noTime)
		return must(u.Exec(ctx, `UPDATE apibuilder_keys SET revoked_at = $1 WHERE id = $2`, micros(k.RevokedAt), id))
	})
	if err != nil {
		return store.Key{}, fmt.Errorf("revoke key: %w", err)
	}
	return k, nil
}

// changeKey reads a key into k, has it changed, and tells of it.
func (s *Store) changeKey(ctx context.Context, id string, k *store.Key, checks []store.Check[store.Key], change func(*unit) error) error {
	if !storable(id) {
		return about("key", id, store.ErrNotFound)
	}
	return s.write(ctx, func(u *unit) (err error) {
		if *k, err = first(ctx, u, scanKey, selectKeys+`WHERE id = $1 FOR UPDATE OF apibuilder_keys`, id); err != nil {
			return about("key", id, err)
		}
		if err := store.Pass(*k, checks); err != nil {
			return about("key", id, err)
		}
		if err := change(u); err != nil {
			return about("key", id, err)
		}
		return u.changedKey(ctx, *k)
	})
}
