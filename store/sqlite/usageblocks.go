package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"apibuilder/store"
)

const (
	blockRecords = 2048 // at most in one block: a batch of a busy journal
	// filledRecords is up to which the newest block takes what comes, so that a server with a request now and then has no block for
	// each. What is rewritten for that is less than a page or two.
	filledRecords = 128
)

const (
	newestStatement      = `SELECT seq, records, CASE WHEN records < ? THEN data END FROM usage_blocks ORDER BY seq DESC LIMIT 1`
	insertBlockStatement = `INSERT INTO usage_blocks (seq, first, last, records, data) VALUES (?, ?, ?, ?, ?)`
	deleteBlockStatement = `DELETE FROM usage_blocks WHERE seq = ?`
	insertNameStatement  = `INSERT INTO usage_block_names (name, last, block) VALUES (?, ?, ?)`
	deleteNameStatement  = `DELETE FROM usage_block_names WHERE name = ? AND last = ? AND block = ?`
)

// storedBlock is a row of usage_blocks, as far as it was asked for.
type storedBlock struct {
	seq     int64
	last    int64
	records int
	data    []byte
}

// read is readBlock with the row in its error.
func (b storedBlock) read() ([]store.Usage, error) {
	records, err := readBlock(b.data)
	if err != nil {
		return nil, fmt.Errorf("usage block %d: %w", b.seq, err)
	}
	return records, nil
}

// eachBlock calls fn with the seq, last and data that a query gives, until it wants no more.
func eachBlock(ctx context.Context, q queryer, query string, args []any, fn func(storedBlock) (more bool, err error)) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var b storedBlock
		if err := rows.Scan(&b.seq, &b.last, &b.data); err != nil {
			return err
		}
		if more, err := fn(b); err != nil || !more {
			return err
		}
	}
	return rows.Err()
}

// newestBlock is zero where there is none. It has its data when it can take another record.
func newestBlock(ctx context.Context, u *unit) (b storedBlock, err error) {
	ctx = context.WithoutCancel(ctx)                                                       // as in run
	row := u.statements.in(ctx, u.Tx, newestStatement).QueryRowContext(ctx, filledRecords) //nolint:sqlclosecheck // it ends with the transaction
	err = row.Scan(&b.seq, &b.records, &b.data)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return b, err
}

// storeBlocks stores records behind those of the newest block, and returns what is the newest then.
func storeBlocks(ctx context.Context, u *unit, newest storedBlock, records []store.Usage) (storedBlock, error) {
	seq := newest.seq + 1
	if newest.records+len(records) <= filledRecords && newest.records > 0 {
		if before, err := newest.read(); err == nil { // one that cannot be read stays as it is
			if err := removeBlock(ctx, u, newest.seq, before); err != nil {
				return newest, err
			}
			seq, records = newest.seq, append(before, records...)
		}
	}
	for some := range slices.Chunk(records, blockRecords) {
		if err := insertBlock(ctx, u, seq, some); err != nil {
			return newest, about("records from", some[0].ID, err)
		}
		newest = storedBlock{seq: seq, records: len(some)}
		seq++
	}
	return newest, nil
}

func insertBlock(ctx context.Context, u *unit, seq int64, records []store.Usage) error {
	first, last := span(records)
	data := appendBlock(ctx, make([]byte, 0, 64*len(records)), records)
	if _, err := u.run(ctx, insertBlockStatement, seq, first, last, len(records), data); err != nil {
		return err
	}
	return eachName(records, func(name string) error {
		_, err := u.run(ctx, insertNameStatement, name, last, seq)
		return err
	})
}

func removeBlock(ctx context.Context, u *unit, seq int64, records []store.Usage) error {
	if _, err := u.run(ctx, deleteBlockStatement, seq); err != nil {
		return err
	}
	_, last := span(records)
	return eachName(records, func(name string) error {
		_, err := u.run(ctx, deleteNameStatement, name, last, seq)
		return err
	})
}

// span is the time of the oldest record and of the newest, in microseconds.
func span(records []store.Usage) (first, last int64) {
	first, last = math.MaxInt64, math.MinInt64
	for i := range records {
		at := records[i].Time.UnixMicro()
		first, last = min(first, at), max(last, at)
	}
	return first, last
}

// eachName calls fn once for every API and every key that records are of.
func eachName(records []store.Usage, fn func(string) error) error {
	var before [2]string
	done := map[string]bool{"": true}
	for i := range records {
		for column, name := range [...]string{records[i].APIID, records[i].KeyID} {
			if name == before[column] || done[name] {
				continue
			}
			before[column], done[name] = name, true
			if err := fn(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// blockFilter is what records of blocks are looked for by: those of f, whatever its Limit is.
type blockFilter struct {
	store.UsageFilter
	since, until int64 // the second exclusive
}

// idTime is how far from the time in its id a record may be.
const idTime = time.Second

func newBlockFilter(f store.UsageFilter) blockFilter {
	b := blockFilter{f, store.SinceMicros(f.Since), math.MaxInt64}
	if !f.Until.IsZero() {
		b.until = f.Until.UnixMicro()
	}
	if f.Before != (store.Position{}) {
		b.until = min(b.until, f.Before.At.UnixMicro()+1)
	}
	if at, ok := timeOfID(f.ID); ok {
		b.since = max(b.since, at.Add(-idTime).UnixMicro())
		b.until = min(b.until, at.Add(idTime).UnixMicro())
	}
	return b
}

// timeOfID is the time that the gateway has put into a request's id (RFC 9562, 5.7).
func timeOfID(id string) (time.Time, bool) {
	uuid, ok := parseUUID(id)
	if !ok || uuid[6]>>4 != 7 {
		return time.Time{}, false
	}
	var ms int64
	for _, b := range uuid[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms), true
}

// has reports whether a record is one of those.
func (f *blockFilter) has(u *store.Usage) bool {
	at := u.Time.UnixMicro()
	if at < f.since || at >= f.until || f.APIID != "" && u.APIID != f.APIID || f.KeyID != "" && u.KeyID != f.KeyID || f.ID != "" && u.ID != f.ID {
		return false
	}
	return f.Before == (store.Position{}) || at < f.Before.At.UnixMicro() || u.ID < f.Before.ID
}

// each calls fn with what a block has of f, block after block, those with the newest records first, until it says that there need not
// be more. Of the records of the blocks that are left none is newer than last.
func (f *blockFilter) each(ctx context.Context, q queryer, fn func(found []store.Usage) error, enough func(last int64) bool) error {
	query, args := f.query()
	return eachBlock(ctx, q, query, args, func(b storedBlock) (bool, error) {
		if enough(b.last) {
			return false, nil
		}
		records, err := b.read()
		if err != nil {
			return false, err
		}
		return true, fn(slices.DeleteFunc(records, func(u store.Usage) bool { return !f.has(&u) }))
	})
}

func (f *blockFilter) query() (string, []any) {
	name := cmp.Or(f.KeyID, f.APIID)
	if name == "" {
		return `SELECT seq, last, data FROM usage_blocks WHERE last >= ? AND first < ? ORDER BY last DESC`, []any{f.since, f.until}
	}
	return `SELECT b.seq, n.last, b.data FROM usage_block_names n CROSS JOIN usage_blocks b ON b.seq = n.block
		WHERE n.name = ? AND n.last >= ? AND b.first < ? ORDER BY n.last DESC`, []any{name, f.since, f.until}
}

// newestFirst is the order of Usage.
func newestFirst(a, b store.Usage) int {
	return cmp.Or(b.Time.Compare(a.Time), strings.Compare(b.ID, a.ID))
}

// fromBlocks returns the newest records of f that blocks have, in no order, and others among them: at least as many as its limit says,
// where there are so many.
func fromBlocks(ctx context.Context, q queryer, f store.UsageFilter) ([]store.Usage, error) {
	var all []store.Usage
	least := int64(math.MinInt64) // older ones are not among the newest
	b := newBlockFilter(f)
	err := b.each(ctx, q, func(found []store.Usage) error {
		all = append(all, found...)
		if len(all) >= f.Limit && (least == math.MinInt64 || len(all) >= 2*f.Limit+blockRecords) {
			slices.SortFunc(all, newestFirst)
			all = all[:f.Limit]
			least = all[f.Limit-1].Time.UnixMicro()
		}
		return nil
	}, func(last int64) bool { return last < least })
	return all, err
}

// countInBlocks counts the records of f that blocks have.
func countInBlocks(ctx context.Context, q queryer, f store.UsageFilter) (n int64, err error) {
	b := newBlockFilter(f)
	err = b.each(ctx, q, func(found []store.Usage) error {
		n += int64(len(found))
		return nil
	}, func(int64) bool { return false })
	return n, err
}

// pruneBlocks removes up to most records from before a time, those of the blocks that begin first.
func pruneBlocks(ctx context.Context, u *unit, before int64, most int) (n int64, err error) {
	for most > 0 {
		b, err := first(ctx, u, func(r *sql.Rows) (b storedBlock, err error) { return b, r.Scan(&b.seq, &b.data) },
			`SELECT seq, data FROM usage_blocks WHERE first < ? ORDER BY first LIMIT 1`, before)
		if errors.Is(err, sql.ErrNoRows) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		records, err := b.read()
		if err != nil { // nobody will read it, and it must not keep the others
			if err := dropBlock(ctx, u, b.seq); err != nil {
				return n, err
			}
			continue
		}
		if err := removeBlock(ctx, u, b.seq, records); err != nil {
			return n, err
		}
		left := withoutOldest(records, before, most)
		if len(left) > 0 {
			if err := insertBlock(ctx, u, b.seq, left); err != nil {
				return n, err
			}
		}
		gone := len(records) - len(left)
		n, most = n+int64(gone), most-gone
	}
	return n, nil
}

// dropBlock removes one that cannot be read.
func dropBlock(ctx context.Context, u *unit, seq int64) error {
	for _, statement := range []string{`DELETE FROM usage_blocks WHERE seq = ?`, `DELETE FROM usage_block_names WHERE block = ?`} {
		if _, err := u.ExecContext(ctx, statement, seq); err != nil {
			return err
		}
	}
	return nil
}

// withoutOldest returns records without up to most of those from before a time, the oldest first, in their order.
func withoutOldest(records []store.Usage, before int64, most int) []store.Usage {
	var old []int
	for i := range records {
		if records[i].Time.UnixMicro() < before {
			old = append(old, i)
		}
	}
	slices.SortStableFunc(old, func(a, b int) int { return records[a].Time.Compare(records[b].Time) })
	gone := make([]bool, len(records))
	for _, i := range old[:min(most, len(old))] {
		gone[i] = true
	}
	var left []store.Usage
	for i := range records {
		if !gone[i] {
			left = append(left, records[i])
		}
	}
	return left
}
