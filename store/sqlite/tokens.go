package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"apibuilder/store"
)

const tokenColumns = `id, name, prefix, hash, role, user_id, created_at, expires_at, revoked_at`

func scanToken(rows *sql.Rows) (store.Token, error) {
	var t store.Token
	var hash []byte
	var created, expires, revoked sql.NullInt64
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
		_, err := u.ExecContext(ctx, `INSERT INTO tokens (`+tokenColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
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
	err = s.read(func() error {
		all, err = list(ctx, s.reader, scanToken, `SELECT `+tokenColumns+` FROM tokens ORDER BY created_at, seq`)
		return err
	})
	return all, err
}

// TokenByHash finds revoked tokens too.
func (s *Store) TokenByHash(ctx context.Context, hash [32]byte) (t store.Token, err error) {
	err = s.read(func() error {
		t, err = first(ctx, s.reader, scanToken, `SELECT `+tokenColumns+` FROM tokens WHERE hash = ?`, hash[:])
		if err != nil {
			return fmt.Errorf("token by hash: %w", neutral(err))
		}
		return nil
	})
	return t, err
}

// RevokeToken ends a token; revoking again keeps the first time.
func (s *Store) RevokeToken(ctx context.Context, id string, checks ...store.Check[store.Token]) (t store.Token, err error) {
	err = s.write(ctx, func(u *unit) error {
		t, err = first(ctx, u, scanToken, `SELECT `+tokenColumns+` FROM tokens WHERE id = ?`, id)
		if err != nil {
			return about("token", id, err)
		}
		if err := store.Pass(t, checks); err != nil || !t.RevokedAt.IsZero() {
			return err
		}
		t.RevokedAt = store.Stamp(noTime)
		u.changed("")
		return about("token", id,
			must(u.ExecContext(ctx, `UPDATE tokens SET revoked_at = ? WHERE id = ?`, micros(t.RevokedAt), id)))
	})
	if err != nil {
		return store.Token{}, fmt.Errorf("revoke token: %w", err)
	}
	return t, nil
}
