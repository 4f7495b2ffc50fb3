package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"apibuilder/store"
)

const keyColumns = `id, api_id, name, prefix, hash, rate_requests, rate_per_ns, created_at, revoked_at`

func scanKey(rows *sql.Rows) (store.Key, error) {
	var k store.Key
	var hash []byte
	var created, revoked sql.NullInt64
	err := rows.Scan(&k.ID, &k.APIID, &k.Name, &k.Prefix, &hash, &k.Rate.Requests, &k.Rate.Per, &created, &revoked)
	if err != nil {
		return k, err
	}
	k.CreatedAt, k.RevokedAt = fromMicros(created), fromMicros(revoked)
	k.Hash, err = store.DecodeHash(hash)
	return k, err
}

// CreateKey is as in store.Store; ErrConflict when the id or hash is taken, ErrNotFound when the API is missing.
func (s *Store) CreateKey(ctx context.Context, k store.Key) (store.Key, error) {
	if err := k.Valid(); err != nil {
		return store.Key{}, fmt.Errorf("create key: %w", err)
	}
	k.CreatedAt = store.Stamp(k.CreatedAt)
	k.RevokedAt = fromMicros(micros(k.RevokedAt))
	err := s.write(ctx, func(u *unit) error {
		if _, err := findAPI(ctx, u, "WHERE id = ?", k.APIID); err != nil {
			return err
		}
		_, err := u.ExecContext(ctx, `INSERT INTO keys (`+keyColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			k.ID, k.APIID, k.Name, k.Prefix, k.Hash[:], k.Rate.Requests, k.Rate.Per, micros(k.CreatedAt), micros(k.RevokedAt))
		u.changed(k.APIID)
		return about("key", k.ID, err)
	})
	if err != nil {
		return store.Key{}, fmt.Errorf("create key: %w", err)
	}
	return k, nil
}

// Keys is as in store.Store.
func (s *Store) Keys(ctx context.Context, apiID string) (all []store.Key, err error) {
	err = s.read(func() error {
		all, err = list(ctx, s.reader, scanKey,
			`SELECT `+keyColumns+` FROM keys WHERE api_id = ? ORDER BY created_at, seq`, apiID)
		return err
	})
	return all, err
}

// KeyByHash is as in store.Store.
func (s *Store) KeyByHash(ctx context.Context, hash [32]byte) (k store.Key, err error) {
	err = s.read(func() error {
		k, err = first(ctx, s.reader, scanKey, `SELECT `+keyColumns+` FROM keys WHERE hash = ?`, hash[:])
		if err != nil {
			return fmt.Errorf("key by hash: %w", neutral(err))
		}
		return nil
	})
	return k, err
}

// RevokeKey is as in store.Store.
func (s *Store) RevokeKey(ctx context.Context, id string) (k store.Key, err error) {
	err = s.write(ctx, func(u *unit) error {
		k, err = first(ctx, u, scanKey, `SELECT `+keyColumns+` FROM keys WHERE id = ?`, id)
		if err != nil || !k.RevokedAt.IsZero() {
			return about("key", id, err)
		}
		k.RevokedAt = store.Stamp(noTime)
		u.changed(k.APIID)
		return about("key", id,
			must(u.ExecContext(ctx, `UPDATE keys SET revoked_at = ? WHERE id = ?`, micros(k.RevokedAt), id)))
	})
	if err != nil {
		return store.Key{}, fmt.Errorf("revoke key: %w", err)
	}
	return k, nil
}
