package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"apibuilder/pace"
	"apibuilder/store"
)

const usageColumns = `id, api_id, version, key_id, time, method, path, route, node, status, error, bytes_in, bytes_out,
	duration_us, start_wait_us, cpu_us`

const defaultUsageLimit = 100

func scanUsage(rows pgx.Rows) (store.Usage, error) {
	var u store.Usage
	var at, duration, wait, cpu int64
	err := rows.Scan(&u.ID, &u.APIID, &u.Version, &u.KeyID, &at, &u.Method, &u.Path, &u.Route, &u.Node, &u.Status, &u.Error,
		&u.BytesIn, &u.BytesOut, &duration, &wait, &cpu)
	u.Time = time.UnixMicro(at).UTC()
	u.Duration, u.StartWait = time.Duration(duration)*time.Microsecond, time.Duration(wait)*time.Microsecond
	u.CPU = time.Duration(cpu) * time.Microsecond
	return u, err
}

// batch is records by column, as one statement takes them: a statement for each record would need a round trip each.
type batch struct {
	id, api, key, method, path, route, node, word []string
	version, time, status, in, out, us, wait, cpu []int64
}

// newBatch takes breaks where ctx is patient.
func newBatch(ctx context.Context, records []store.Usage) (*batch, error) {
	b := &batch{}
	for i, r := range records {
		pace.Round(ctx, i)
		if r.ID == "" {
			return nil, fmt.Errorf("%w: usage of api %q at %s has no id", store.ErrInvalid, r.APIID, r.Time)
		}
		r = r.Clean()
		b.id, b.api, b.key = append(b.id, r.ID), append(b.api, r.APIID), append(b.key, r.KeyID)
		b.method, b.path, b.word = append(b.method, r.Method), append(b.path, r.Path), append(b.word, r.Error)
		b.route, b.node = append(b.route, r.Route), append(b.node, r.Node)
		b.version, b.time = append(b.version, int64(r.Version)), append(b.time, r.Time.UnixMicro())
		b.status = append(b.status, int64(r.Status))
		b.in, b.out = append(b.in, r.BytesIn), append(b.out, r.BytesOut)
		b.us, b.wait = append(b.us, r.Duration.Microseconds()), append(b.wait, r.StartWait.Microseconds())
		b.cpu = append(b.cpu, r.CPU.Microseconds())
	}
	return b, nil
}

// AddUsage is as in store.Store; a record without an id is an ErrInvalid, and its batch is not stored.
func (s *Store) AddUsage(ctx context.Context, records []store.Usage) error {
	if len(records) == 0 {
		return nil
	}
	b, err := newBatch(ctx, records)
	if err != nil {
		return fmt.Errorf("add usage: %w", err)
	}
	err = s.read(ctx, func() error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			owners, err := b.insert(ctx, tx)
			if err != nil || len(owners) == 0 {
				return err
			}
			return addSums(ctx, tx, freshOf(ctx, records, owners))
		})
	})
	if err != nil {
		return fmt.Errorf("add usage: %w", err)
	}
	return nil
}

// insert stores the records and returns, for the id of each that was not there, who owns its API. Of equal ids in a batch the
// first one counts.
func (b *batch) insert(ctx context.Context, tx pgx.Tx) (map[string]string, error) {
	type row struct{ id, owner string }
	rows, err := list(ctx, tx, func(r pgx.Rows) (one row, err error) { return one, r.Scan(&one.id, &one.owner) },
		`WITH fresh AS (INSERT INTO apibuilder_usage (`+usageColumns+`)
			SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::text[],
				$8::text[], $9::text[], $10::bigint[], $11::text[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[])
			ON CONFLICT (id) DO NOTHING RETURNING id, api_id)
		SELECT fresh.id, coalesce(a.user_id, '') FROM fresh LEFT JOIN apibuilder_apis a ON a.id = fresh.api_id`,
		b.id, b.api, b.version, b.key, b.time, b.method, b.path, b.route, b.node, b.status, b.word, b.in, b.out, b.us, b.wait, b.cpu)
	owners := map[string]string{}
	for _, r := range rows {
		owners[r.id] = r.owner
	}
	return owners, err
}

// owned is a record with the owner of its API.
type owned struct {
	store.Usage
	owner string
}

// freshOf returns those of the records that owners knows, as they are stored, each once. It takes breaks where ctx is patient: so far no row
// is locked that others write.
func freshOf(ctx context.Context, records []store.Usage, owners map[string]string) (fresh []owned) {
	for i, r := range records {
		pace.Round(ctx, i)
		r = r.Clean()
		if owner, ok := owners[r.ID]; ok {
			fresh = append(fresh, owned{r, owner})
			delete(owners, r.ID)
		}
	}
	return fresh
}

// Usage is as in store.Store.
func (s *Store) Usage(ctx context.Context, f store.UsageFilter) (all []store.Usage, err error) {
	if !storable(f.APIID) || !storable(f.KeyID) || !storable(f.ID) || !storable(f.Before.ID) {
		return []store.Usage{}, nil
	}
	var where store.Where
	where.Is("api_id", f.APIID)
	where.Is("key_id", f.KeyID)
	where.Is("id", f.ID)
	where.Within(f.Since, f.Until)
	where.Before(f.Before)
	if f.Limit <= 0 {
		f.Limit = defaultUsageLimit
	}
	query := store.Limited(`SELECT `+usageColumns+` FROM apibuilder_usage`+where.String()+` ORDER BY time DESC, id DESC`, f.Limit)
	err = s.read(ctx, func() error {
		all, err = list(ctx, s.pool, scanUsage, store.Numbered(query), where.Args...)
		return err
	})
	return all, err
}

func usageWhere(apiID, keyID string, since time.Time) (string, []any) {
	var terms []string
	var args []any
	add := func(term string, arg any) {
		args = append(args, arg)
		terms = append(terms, term+" $"+strconv.Itoa(len(args)))
	}
	if apiID != "" {
		add("api_id =", apiID)
	}
	if keyID != "" {
		add("key_id =", keyID)
	}
	if !since.IsZero() {
		add("time >=", since.UnixMicro())
	}
	if len(terms) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(terms, " AND "), args
}
