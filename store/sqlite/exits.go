package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"apibuilder/store"
)

// keptExits are of each API, in the order in which they came, because clocks may be set; "+ 0" keeps to the index by API.
const keptExits = 50

func scanExit(rows *sql.Rows) (store.Exit, error) {
	var e store.Exit
	var at sql.NullInt64
	err := rows.Scan(&e.APIID, &e.Version, &e.Reason, &e.Detail, &e.Output, &at)
	e.Time = fromMicros(at)
	return e, err
}

// AddExit is as in store.Store; a zero time is set to now, ErrNotFound when the API is missing.
func (s *Store) AddExit(ctx context.Context, e store.Exit) error {
	err := s.write(ctx, func(u *unit) error {
		_, err := u.ExecContext(ctx, `INSERT INTO exits (api_id, version, reason, detail, output, time)
			VALUES (?, ?, ?, ?, ?, ?)`, e.APIID, e.Version, store.CleanText(e.Reason), store.CleanText(e.Detail),
			store.CleanText(e.Output), micros(store.Stamp(e.Time)))
		if err != nil {
			return about("api", e.APIID, err)
		}
		_, err = u.ExecContext(ctx, `DELETE FROM exits WHERE seq IN (
			SELECT seq FROM exits WHERE api_id = ? ORDER BY seq + 0 DESC LIMIT -1 OFFSET ?)`, e.APIID, keptExits)
		return err
	})
	if err != nil {
		return fmt.Errorf("add exit: %w", err)
	}
	return nil
}

// Exits is as in store.Store; a limit below 1 means all that are kept.
func (s *Store) Exits(ctx context.Context, apiID string, limit int) (all []store.Exit, err error) {
	if limit < 1 {
		limit = keptExits
	}
	err = s.read(func() error {
		all, err = list(ctx, s.reader, scanExit, `SELECT api_id, version, reason, detail, output, time FROM exits
			WHERE api_id = ? ORDER BY seq + 0 DESC LIMIT ?`, apiID, limit)
		return err
	})
	return all, err
}
