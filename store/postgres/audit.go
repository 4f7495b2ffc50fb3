package postgres

import (
	"cmp"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

const auditColumns = `id, time, token_id, role, user_id, method, path, api_id, status, error`

func scanAudit(rows pgx.Rows) (store.AuditEntry, error) {
	var e store.AuditEntry
	var at *int64
	err := rows.Scan(&e.ID, &at, &e.TokenID, &e.Role, &e.UserID, &e.Method, &e.Path, &e.APIID, &e.Status, &e.Error)
	e.Time = fromMicros(at)
	return e, err
}

// AddAudit is as in store.Store; a zero time is set to now.
func (s *Store) AddAudit(ctx context.Context, e store.AuditEntry) error {
	err := s.write(ctx, func(u *unit) error {
		_, err := u.Exec(ctx, `WITH added AS (INSERT INTO apibuilder_audit (`+auditColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING seq)
			DELETE FROM apibuilder_audit WHERE seq <= (SELECT seq FROM added) - $11`, e.ID, micros(store.Stamp(e.Time)), e.TokenID, e.Role, e.UserID,
			store.CleanText(e.Method), store.CleanText(e.Path), e.APIID, e.Status, e.Error, store.KeptAudit)
		return err
	})
	if err != nil {
		return fmt.Errorf("add to the audit log: %w", err)
	}
	return nil
}

// Audit is as in store.Store.
func (s *Store) Audit(ctx context.Context, f store.AuditFilter) (all []store.AuditEntry, err error) {
	if !storable(f.APIID) || !storable(f.UserID) || !storable(f.TokenID) || !storable(f.Before.ID) {
		return []store.AuditEntry{}, nil
	}
	var where store.Where
	where.Is("api_id", f.APIID)
	where.Is("user_id", f.UserID)
	where.Is("token_id", f.TokenID)
	where.Within(f.Since, f.Until)
	where.Before(f.Before)
	query := store.Limited(`SELECT `+auditColumns+` FROM apibuilder_audit`+where.String()+` ORDER BY time DESC, id DESC`, cmp.Or(f.Limit, 100))
	err = s.read(ctx, func() error {
		all, err = list(ctx, s.pool, scanAudit, store.Numbered(query), where.Args...)
		return err
	})
	return all, err
}
