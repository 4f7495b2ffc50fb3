package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

const tokenColumns = `id, name, prefix, hash, role, user_id, created_at, expires_at, revoked_at`

func scanToken(rows pgx.Rows) (store.Token, error) {
	var t store.Token
	var hash []byte
	var created, expires, revoked *int64
	if err := rows.Scan(&t.ID, &t.Name, &t.Prefix, &hash, &t.Role, &t.UserID, &created, &expires, &revoked); err != nil {
		return t, err
	}
	t.CreatedAt, t.ExpiresAt, t.RevokedAt = fromMicros(created), fromMicros(expires), fromMicros(revoked)
	var err error
	t.Hash, err = store.DecodeHash(hash)
	return t, err
}

// CreateToken is as in store.Store; ErrConflict when the id or hash is taken.
func (s *Store) CreateToken(ctx context.Context, t store.Token) (store.Token, error) {
	if err := t.Valid(); err != nil {
		return store.Token{}, fmt.Errorf("create token: %w", err)
	}
	t.CreatedAt = store.Stamp(t.CreatedAt)
	t.Role = t.Role.Or()
	t.ExpiresAt, t.RevokedAt = fromMicros(micros(t.ExpiresAt)), fromMicros(micros(t.RevokedAt))
	err := s.write(ctx, func(u *unit) error {
		_, err := u.Exec(ctx, `INSERT INTO apibuilder_tokens (`+tokenColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			t.ID, t.Name, t.Prefix, t.Hash[:], string(t.Role), t.UserID, micros(t.CreatedAt), micros(t.ExpiresAt),
			micros(t.RevokedAt))
		u.changed("")
		return about("token", t.ID, err)
	})
	if err != nil {
		return store.Token{}, fmt.Errorf("create token: %w", err)
	}
	return t, nil
}

// Tokens lists them oldest first, revoked ones too.
func (s *Store) Tokens(ctx context.Context) (all []store.Token, err error) {
	err = s.read(ctx, func() error {
		all, err = list(ctx, s.pool, scanToken, `SELECT `+tokenColumns+` FROM apibuilder_tokens ORDER BY created_at, seq`)
		return err
	})
	return all, err
}

// TokenByHash finds revoked tokens too.
func (s *Store) TokenByHash(ctx context.Context, hash [32]byte) (t store.Token, err error) {
	err = s.read(ctx, func() error {
		t, err = first(ctx, s.pool, scanToken, `SELECT `+tokenColumns+` FROM apibuilder_tokens WHERE hash = $1`, hash[:])
		if err != nil {
			return fmt.Errorf("token by hash: %w", neutral(err))
		}
		return nil
	})
	return t, err
}

// RevokeToken ends a token; revoking again keeps the first time.
func (s *Store) RevokeToken(ctx context.Context, id string, checks ...store.Check[store.Token]) (t store.Token, err error) {
	if !storable(id) {
		return store.Token{}, about("token", id, store.ErrNotFound)
	}
	err = s.write(ctx, func(u *unit) error {
		t, err = first(ctx, u, scanToken, `SELECT `+tokenColumns+` FROM apibuilder_tokens WHERE id = $1 FOR UPDATE`, id)
		if err != nil {
			return about("token", id, err)
		}
		if err := store.Pass(t, checks); err != nil || !t.RevokedAt.IsZero() {
			return err
		}
		t.RevokedAt = store.Stamp(noTime)
		u.changed("")
		return about("token", id,
			must(u.Exec(ctx, `UPDATE apibuilder_tokens SET revoked_at = $1 WHERE id = $2`, micros(t.RevokedAt), id)))
	})
	if err != nil {
		return store.Token{}, fmt.Errorf("revoke token: %w", err)
	}
	return t, nil
}
