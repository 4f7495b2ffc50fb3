package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"apibuilder/store"
)

const usageColumns = `id, api_id, version, key_id, time, method, path, status, error, bytes_in, bytes_out, duration_us,
	start_wait_us`

const (
	defaultUsageLimit = 100

	usageFields = 13
	usageRows   = 64 // inserted at once
)

func scanUsage(rows *sql.Rows) (store.Usage, error) {
	var u store.Usage
	var at, duration, wait int64
	err := rows.Scan(&u.ID, &u.APIID, &u.Version, &u.KeyID, &at, &u.Method, &u.Path, &u.Status, &u.Error, &u.BytesIn,
		&u.BytesOut, &duration, &wait)
	u.Time = time.UnixMicro(at).UTC()
	u.Duration, u.StartWait = time.Duration(duration)*time.Microsecond, time.Duration(wait)*time.Microsecond
	return u, err
}

// AddUsage is as in store.Store; a record without an id is an ErrInvalid, and its batch is not stored.
func (s *Store) AddUsage(ctx context.Context, records []store.Usage) error {
	if len(records) == 0 {
		return nil
	}
	err := s.write(ctx, func(u *unit) error {
		rows := min(len(records), usageRows)
		insert, err := u.PrepareContext(ctx, insertUsage(rows))
		if err != nil {
			return err
		}
		defer insert.Close()
		for ; len(records) >= rows; records = records[rows:] {
			args, err := usageArgs(records[:rows])
			if err == nil {
				_, err = insert.ExecContext(ctx, args...)
			}
			if err != nil {
				return about("records from", records[0].ID, err)
			}
		}
		if len(records) == 0 {
			return nil
		}
		args, err := usageArgs(records)
		if err == nil {
			_, err = u.ExecContext(ctx, insertUsage(len(records)), args...)
		}
		if err != nil {
			return about("records from", records[0].ID, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("add usage: %w", err)
	}
	return nil
}

// insertUsage is a statement for so many records at once: a statement costs as much as several rows.
func insertUsage(rows int) string {
	values := strings.Repeat(", (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
	return `INSERT INTO usage (` + usageColumns + `) VALUES ` + values[2:] + ` ON CONFLICT (id) DO NOTHING`
}

func usageArgs(records []store.Usage) ([]any, error) {
	args := make([]any, 0, usageFields*len(records))
	for _, r := range records {
		if r.ID == "" {
			return nil, fmt.Errorf("%w: usage of api %q at %s has no id", store.ErrInvalid, r.APIID, r.Time)
		}
		r = r.Clean()
		args = append(args, r.ID, r.APIID, r.Version, r.KeyID, r.Time.UnixMicro(), r.Method, r.Path,
			r.Status, r.Error, r.BytesIn, r.BytesOut, r.Duration.Microseconds(), r.StartWait.Microseconds())
	}
	return args, nil
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

// CountUsage is as in store.Store.
func (s *Store) CountUsage(ctx context.Context, apiID string, since time.Time) (n int64, err error) {
	where, args := usageWhere(apiID, "", since)
	err = s.read(func() error {
		return s.reader.QueryRowContext(ctx, `SELECT count(*) FROM usage`+where, args...).Scan(&n)
	})
	return n, err
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
