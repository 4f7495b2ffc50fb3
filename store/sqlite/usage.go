package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"apibuilder/pace"
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
	for i := range records {
		if r := &records[i]; r.ID == "" {
			return fmt.Errorf("add usage: %w: usage of api %q at %s has no id", store.ErrInvalid, r.APIID, r.Time)
		}
	}
	err := s.read(func() error { return s.statements.prepare(ctx, s.writer, usageStatements) })
	if err == nil {
		err = s.addUsage(ctx, records)
	}
	if err != nil {
		return fmt.Errorf("add usage: %w", err)
	}
	return nil
}

// addUsage stores the records that are new, and adds them to the sums. It takes breaks where ctx is patient: of a full batch some 20 ms, for
// which others that write wait.
func (s *Store) addUsage(ctx context.Context, records []store.Usage) error {
	s.usageLock.Lock()
	defer s.usageLock.Unlock()
	clean := cleaned(records)
	var newest storedBlock
	err := s.write(ctx, func(u *unit) error {
		before, err := newestBlock(ctx, u)
		if err != nil {
			return err
		}
		fresh, err := s.seen.fresh(ctx, u, before, clean)
		if err == nil {
			newest, err = storeBlocks(ctx, u, before, fresh)
		}
		if err != nil {
			return err
		}
		pace.Break(ctx)
		return addSums(ctx, u, fresh)
	})
	if err != nil {
		s.seen = seen{} // it knows what may not be stored
		return err
	}
	s.seen.newest = newest
	return nil
}

// cleaned returns what is stored of records: a journal's are clean.
func cleaned(records []store.Usage) []store.Usage {
	clean := records
	before := &store.Usage{}
	for i := range records {
		switch u := &records[i]; {
		case u.IsClean(before):
		case &clean[0] == &records[0]:
			clean = slices.Clone(records)
			fallthrough
		default:
			clean[i] = u.Clean()
		}
		before = &clean[i]
	}
	return clean
}

// usageStatements are all that AddUsage and PruneUsage run again and again.
var usageStatements = slices.Concat(slices.Collect(maps.Values(sumStatement)), []string{
	newestStatement, versionStatement, looseStatement, insertBlockStatement, deleteBlockStatement, insertNameStatement, deleteNameStatement,
	ownerStatement, useStatement,
})

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
		if all, err = list(ctx, s.reader, scanUsage, query, where.Args...); err != nil {
			return err
		}
		more, err := fromBlocks(ctx, s.reader, f)
		all = append(all, more...)
		return err
	})
	slices.SortFunc(all, newestFirst)
	return all[:min(len(all), f.Limit)], err
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
