package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"apibuilder/store"
)

const usageColumns = `id, api_id, version, key_id, time, method, path, route, node, status, error, bytes_in, bytes_out,
	duration_us, start_wait_us, cpu_us`

const (
	defaultUsageLimit = 100

	usageFields = 16
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
	clean := make([]store.Usage, len(records))
	for i, r := range records {
		if r.ID == "" {
			return fmt.Errorf("add usage: %w: usage of api %q at %s has no id", store.ErrInvalid, r.APIID, r.Time)
		}
		clean[i] = r.Clean()
	}
	err := s.read(func() error { return s.statements.prepare(ctx, s.writer, usageStatements) })
	if err == nil {
		err = s.addUsage(ctx, clean, insertUsage)
	}
	if errors.Is(err, errSeen) {
		err = s.addUsage(ctx, clean, insertUnseen)
	}
	if err != nil {
		return fmt.Errorf("add usage: %w", err)
	}
	return nil
}

// errSeen says that a batch has records that were there, or one twice, and nothing was stored.
var errSeen = errors.New("records that are there already")

// addUsage stores what insert finds to be new, and adds that to the sums.
func (s *Store) addUsage(ctx context.Context, records []store.Usage, insert func(context.Context, *unit, []store.Usage) ([]store.Usage, error)) error {
	return s.write(ctx, func(u *unit) error {
		fresh, err := insert(ctx, u, records)
		if err != nil {
			return err
		}
		return addSums(ctx, u, fresh)
	})
}

// insertUsage writes records that are all new, as those of a journal are but after a crash: errSeen when they are not. It writes
// many at once, because a statement costs as much as several rows, and does not ask which were written, which costs as much as the
// rows of a statement.
func insertUsage(ctx context.Context, u *unit, records []store.Usage) ([]store.Usage, error) {
	args := make([]any, 0, usageFields*usageRows[0])
	for rest := records; len(rest) > 0; {
		rows := fitting(len(rest))
		some := rest[:rows]
		rest = rest[rows:]
		args = appendUsage(args[:0], some)
		n, err := u.run(ctx, usageStatement[rows], args...)
		switch {
		case err != nil:
			return nil, about("records from", some[0].ID, err)
		case n != int64(rows):
			return nil, errSeen
		}
	}
	return records, nil
}

// insertUnseen returns the records that were not there.
func insertUnseen(ctx context.Context, u *unit, records []store.Usage) (fresh []store.Usage, err error) {
	for i := range records {
		n, err := u.run(ctx, usageStatement[1], appendUsage(nil, records[i:i+1])...)
		if err != nil {
			return nil, about("record", records[i].ID, err)
		}
		if n > 0 {
			fresh = append(fresh, records[i])
		}
	}
	return fresh, nil
}

// usageRows are how many records are inserted at once: few sizes, so that few statements are kept.
var usageRows = [...]int{64, 8, 1}

// fitting is the largest size for n records, of which there is at least one.
func fitting(n int) int {
	for _, rows := range usageRows {
		if rows <= n {
			return rows
		}
	}
	return 1
}

// usageStatement inserts so many records, without those that are there.
var usageStatement = func() map[int]string {
	all := make(map[int]string, len(usageRows))
	for _, rows := range usageRows {
		values := strings.Repeat(", ("+strings.Repeat(", ?", usageFields)[2:]+")", rows)
		all[rows] = `INSERT OR FAIL INTO usage (` + usageColumns + `) VALUES ` + values[2:] + ` ON CONFLICT (id) DO NOTHING`
	}
	return all
}()

// usageStatements are all that AddUsage runs.
var usageStatements = slices.Concat(slices.Collect(maps.Values(usageStatement)), slices.Collect(maps.Values(sumStatement)),
	[]string{ownerStatement, useStatement})

func appendUsage(args []any, records []store.Usage) []any {
	for i := range records {
		r := &records[i]
		args = append(args, r.ID, r.APIID, r.Version, r.KeyID, r.Time.UnixMicro(), r.Method, r.Path, r.Route, r.Node, r.Status, r.Error,
			r.BytesIn, r.BytesOut, r.Duration.Microseconds(), r.StartWait.Microseconds(), r.CPU.Microseconds())
	}
	return args
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

func usageWhere(apiID, keyID string, since time.Time) (string, []any) {
	var terms []string
	var args []any
	add := func(term string, arg any) { terms, args = append(terms, term), append(args, arg) }
	if apiID != "" {
		add("api_id = ?", apiID)
	}
	if keyID != "" {
		add("key_id = ?", keyID)
	}
	if !since.IsZero() {
		add("time >= ?", since.UnixMicro())
	}
	if len(terms) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(terms, " AND "), args
}
