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

const (
	defaultUsageLimit = 100

	usageFields = 16
	usageRows   = 64 // inserted at once
)

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

// insertUsage returns the records that were not there, as they are stored. It writes many at once: a statement costs as much as
// several rows.
func insertUsage(ctx context.Context, u *unit, records []store.Usage) (fresh []store.Usage, err error) {
	full, err := u.PrepareContext(ctx, usageStatement(usageRows))
	if err != nil {
		return nil, err
	}
	defer full.Close()
	for len(records) > 0 {
		some := records[:min(len(records), usageRows)]
		records = records[len(some):]
		added, err := insertSome(ctx, u, full, some)
		if err != nil {
			return nil, about("records from", some[0].ID, err)
		}
		fresh = append(fresh, added...)
	}
	return fresh, nil
}

func usageStatement(rows int) string {
	values := strings.Repeat(", ("+strings.Repeat(", ?", usageFields)[2:]+")", rows)
	return `INSERT INTO usage (` + usageColumns + `) VALUES ` + values[2:] + ` ON CONFLICT (id) DO NOTHING RETURNING id`
}

// insertSome writes at most usageRows records, with full where there are so many.
func insertSome(ctx context.Context, u *unit, full *sql.Stmt, records []store.Usage) (fresh []store.Usage, err error) {
	args := make([]any, 0, usageFields*len(records))
	clean := make(map[string]store.Usage, len(records))
	for _, r := range records {
		if r.ID == "" {
			return nil, fmt.Errorf("%w: usage of api %q at %s has no id", store.ErrInvalid, r.APIID, r.Time)
		}
		r = r.Clean()
		if _, twice := clean[r.ID]; !twice {
			clean[r.ID] = r
		}
		args = append(args, r.ID, r.APIID, r.Version, r.KeyID, r.Time.UnixMicro(), r.Method, r.Path, r.Route, r.Node, r.Status, r.Error,
			r.BytesIn, r.BytesOut, r.Duration.Microseconds(), r.StartWait.Microseconds(), r.CPU.Microseconds())
	}
	var rows *sql.Rows
	if len(records) == usageRows {
		rows, err = full.QueryContext(ctx, args...)
	} else {
		rows, err = u.QueryContext(ctx, usageStatement(len(records)), args...)
	}
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		fresh = append(fresh, clean[id])
	}
	return fresh, rows.Err()
}

// Usage is as in store.Store.
func (s *Store) Usage(ctx context.Context, f store.UsageFilter) (all []store.Usage, err error) {
	var where store.Where
	where.Is("api_id", f.APIID)
	where.Is("key_id", f.KeyID)
	where.Is("id", f.ID)
	where.Within(f.Since, f.Until)
	where.Before(f.Before)
	if f.Limit <= 0 {
		f.Limit = defaultUsageLimit
	}
	query := store.Limited(`SELECT `+usageColumns+` FROM usage`+where.String()+` ORDER BY time DESC, id DESC`, f.Limit)
	err = s.read(func() error {
		all, err = list(ctx, s.reader, scanUsage, query, where.Args...)
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
