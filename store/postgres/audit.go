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
		var seq int64
		err := u.QueryRow(ctx, `INSERT INTO apibuilder_audit (`+auditColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING seq`, e.ID, micros(store.Stamp(e.Time)), e.TokenID, e.Role, e.UserID,
			store.CleanText(e.Method), store.CleanText(e.Path), e.APIID, e.Status, e.Error).Scan(&seq)
		if err != nil || seq%store.AuditRound != 0 {
			return err
		}
		return pruneAudit(ctx, u, store.KeptAudit)
	})
	if err != nil {
		return fmt.Errorf("add to the audit log: %w", err)
	}
	return nil
}

// pruneAudit removes what there is above so many entries: the oldest of whoever has most, and where nobody has many the oldest of all.
func pruneAudit(ctx context.Context, u *unit, keep int) error {
	var all, most int
	var token string
	var done bool
	err := u.QueryRow(ctx, `SELECT token_id, status < 400, count(*), (sum(count(*)) OVER ())::bigint FROM apibuilder_audit
		GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 1`).Scan(&token, &done, &most, &all)
	if err != nil || all <= keep {
		return err
	}
	_, err = u.Exec(ctx, `DELETE FROM apibuilder_audit WHERE seq IN
		(SELECT seq FROM apibuilder_audit WHERE token_id = $1 AND (status < 400) = $2 ORDER BY seq LIMIT $3)`,
		token, done, min(all-keep, most-1))
	if rest := all - keep - (most - 1); err == nil && rest > 0 {
		_, err = u.Exec(ctx, `DELETE FROM apibuilder_audit WHERE seq IN (SELECT seq FROM apibuilder_audit ORDER BY seq LIMIT $1)`, rest)
	}
	return err
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
