package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"

	"apibuilder/store"
)

const auditColumns = `id, time, token_id, role, user_id, method, path, api_id, status, error`

func scanAudit(rows *sql.Rows) (store.AuditEntry, error) {
	var e store.AuditEntry
	var at sql.NullInt64
	err := rows.Scan(&e.ID, &at, &e.TokenID, &e.Role, &e.UserID, &e.Method, &e.Path, &e.APIID, &e.Status, &e.Error)
	e.Time = fromMicros(at)
	return e, err
}

// AddAudit is as in store.Store; a zero time is set to now.
func (s *Store) AddAudit(ctx context.Context, e store.AuditEntry) error {
	err := s.write(ctx, func(u *unit) error {
		result, err := u.ExecContext(ctx, `INSERT INTO audit (`+auditColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, e.ID,
			micros(store.Stamp(e.Time)), e.TokenID, e.Role, e.UserID, store.CleanText(e.Method), store.CleanText(e.Path), e.APIID, e.Status, e.Error)
		if err != nil {
			return err
		}
		seq, err := result.LastInsertId()
		if err != nil {
			return err
		}
		if seq%store.AuditRound != 0 {
			return nil
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
	err := u.QueryRowContext(ctx, `SELECT token_id, status < 400, count(*), sum(count(*)) OVER () FROM audit GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 1`).
		Scan(&token, &done, &most, &all)
	if err != nil || all <= keep {
		return err
	}
	_, err = u.ExecContext(ctx, `DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE token_id = ? AND (status < 400) = ? ORDER BY seq LIMIT ?)`,
		token, done, min(all-keep, most-1))
	if rest := all - keep - (most - 1); err == nil && rest > 0 {
		_, err = u.ExecContext(ctx, `DELETE FROM audit WHERE seq IN (SELECT seq FROM audit ORDER BY seq LIMIT ?)`, rest)
	}
	return err
}

// Audit is as in store.Store.
func (s *Store) Audit(ctx context.Context, f store.AuditFilter) (all []store.AuditEntry, err error) {
	var where store.Where
	where.Is("api_id", f.APIID)
	where.Is("user_id", f.UserID)
	where.Is("token_id", f.TokenID)
	where.Within(f.Since, f.Until)
	where.Before(f.Before)
	query := store.Limited(`SELECT `+auditColumns+` FROM audit`+where.String()+` ORDER BY time DESC, id DESC`, cmp.Or(f.Limit, 100))
	err = s.read(func() error {
		all, err = list(ctx, s.reader, scanAudit, query, where.Args...)
		return err
	})
	return all, err
}
