package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"apibuilder/store"
)

const usageColumns = `id, api_id, version, key_id, time, method, path, route, node, status, error, bytes_in, bytes_out,
	duration_us, start_wait_us, cpu_us`

const defaultUsageLimit = 100

func scanUsage(rows *sql.Rows) (store.Usage, error) {
	var u store.Usage
	var at, duration, wait, cpu int64
	err := rows.Scan(&u.ID, &u.APIID, &u.Version, &u.KeyID, &at, &u.Method, &u.Path, &u.Route, &u.Node, &u.Status, &u.Error,
		&u.BytesIn, &u.BytesOut, &duration, &wait, &cpu)
	u.Time = time.UnixMicro(at).UTC()
	u.Duration, u.StartWait = time.Duration(duration)*time.Microsecond, time.Duration(wait)*time.Microsecond
	u.CPU = time.Duration(cpu) * time.Microsecond
	return u, err
}

// AddUsage is as in store.Store; a record without an id is an ErrInvalid, and its batch is not stored.
func (s *Store) AddUsage(ctx context.Context, records []store.Usage) error {
	if len(records) == 0 {
		return nil
	}
	err := s.write(ctx, func(u *unit) error {
		fresh, err := insertUsage(ctx, u, records)
		if err != nil {
			return err
		}
		return addSums(ctx, u, fresh)
	})
	if err != nil {
		return fmt.Errorf("add usage: %w", err)
	}
	return nil
}

// insertUsage returns the records that were not there, as they are stored.
func insertUsage(ctx context.Context, u *unit, records []store.Usage) (fresh []store.Usage, err error) {
	insert, err := u.PrepareContext(ctx, `INSERT INTO usage (`+usageColumns+`)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`)
	if err != nil {
		return nil, err
	}
	defer insert.Close()
	for _, r := range records {
		if r.ID == "" {
			return nil, fmt.Errorf("%w: usage of api %q at %s has no id", store.ErrInvalid, r.APIID, r.Time)
		}
		r = r.Clean()
		result, err := insert.ExecContext(ctx, r.ID, r.APIID, r.Version, r.KeyID, r.Time.UnixMicro(), r.Method, r.Path, r.Route,
			r.Node, r.Status, r.Error, r.BytesIn, r.BytesOut, r.Duration.Microseconds(), r.StartWait.Microseconds(),
			r.CPU.Microseconds())
		if err != nil {
			return nil, about("record", r.ID, err)
		}
		if n, err := result.RowsAffected(); err != nil {
			return nil, err
		} else if n > 0 {
			fresh = append(fresh, r)
		}
	}
	return fresh, nil
}

// Usage is as in store.Store.
func (s *Store) Usage(ctx context.Context, f store.UsageFilter) (all []store.Usage, err error) {
	where, args := usageWhere(f.APIID, f.ID, f.Since)
	if f.Limit <= 0 {
		f.Limit = defaultUsageLimit
	}
	err = s.read(func() error {
		all, err = list(ctx, s.reader, scanUsage,
			`SELECT `+usageColumns+` FROM usage`+where+` ORDER BY time DESC, seq DESC LIMIT ?`, append(args, f.Limit)...)
		return err
	})
	return all, err
}

func usageWhere(apiID, id string, since time.Time) (string, []any) {
	var terms []string
	var args []any
	add := func(term string, arg any) { terms, args = append(terms, term), append(args, arg) }
	if apiID != "" {
		add("api_id = ?", apiID)
	}
	if id != "" {
		add("id = ?", id)
	}
	if !since.IsZero() {
		add("time >= ?", since.UnixMicro())
	}
	if len(terms) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(terms, " AND "), args
}
