package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"slices"

	"apibuilder/pace"
	"apibuilder/store"
)

// keptSeen is how many of the last records are known by their ids: a journal sends again after a crash what is in one of its files,
// less than half as many, and less than that many where no new file could be made.
const keptSeen = 1 << 16

// versionStatement gives another number when another connection has written (sqlite.org/pragma.html#pragma_data_version). Only one of a
// Store does.
const versionStatement = `PRAGMA data_version`

const looseStatement = `SELECT EXISTS (SELECT 1 FROM usage WHERE id = ?)`

// seen are the ids of the records that were stored last, keptSeen of them and up to two tables more, as hashes: two different ids that
// are taken for the same are less likely than a wrong bit in memory. The zero value knows nothing, and asks the database.
type seen struct {
	loaded   bool
	newest   storedBlock // what was the newest when these were known,
	version  int64       // and what SQLite called the data; they tell that another process has stored more
	seed     maphash.Seed
	tables   []*idTable // oldest first; ids are added to the last one
	looseFor int        // how many records more are looked for in the table usage
}

const (
	tableIDs   = 2048 // of one table: those of a batch of a busy journal
	tableSlots = 2 * tableIDs
	mostTables = keptSeen/tableIDs + 2
)

// idTable is a hash table of ids, small enough for a processor's cache, with the span of those ids: the gateway's begin with the time, so that a
// new one is nearly always behind all that an older table has, and is not looked for there.
type idTable struct {
	first, last idStart
	ids         int
	slots       [tableSlots]uint64 // hashes; 0: empty
}

// idStart is what an id begins with. It has all of the time.
type idStart struct{ high, low uint64 }

func startOf(id string) idStart {
	var b [16]byte
	copy(b[:], id)
	return idStart{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (s idStart) before(o idStart) bool { return s.high < o.high || s.high == o.high && s.low < o.low }

// add returns false for an id that is known.
func (s *seen) add(id string) bool {
	hash, start := max(maphash.String(s.seed, id), 1), startOf(id)
	for _, t := range s.tables {
		if !t.last.before(start) && !start.before(t.first) && t.has(hash) {
			return false
		}
	}
	s.table().add(start, hash)
	return true
}

// table is the one to be added to. The oldest becomes a new one when there are enough.
func (s *seen) table() *idTable {
	n := len(s.tables)
	switch {
	case n > 0 && s.tables[n-1].ids < tableIDs:
	case n < mostTables:
		s.tables = append(s.tables, new(idTable))
	default:
		oldest := s.tables[0]
		*oldest = idTable{}
		s.tables = append(slices.Delete(s.tables, 0, 1), oldest)
	}
	return s.tables[len(s.tables)-1]
}

func (t *idTable) has(hash uint64) bool { return t.slots[t.slot(hash)] == hash }

// slot is where a hash is, or would be.
func (t *idTable) slot(hash uint64) uint64 {
	at := hash % tableSlots
	for t.slots[at] != 0 && t.slots[at] != hash {
		at = (at + 1) % tableSlots
	}
	return at
}

func (t *idTable) add(start idStart, hash uint64) {
	t.slots[t.slot(hash)] = hash
	if t.ids == 0 || start.before(t.first) {
		t.first = start
	}
	if t.last.before(start) {
		t.last = start
	}
	t.ids++
}

// fresh returns the records that are not known, each once, and knows them. It does not change records. newest is the newest block as it is in the
// transaction.
func (s *seen) fresh(ctx context.Context, u *unit, newest storedBlock, records []store.Usage) ([]store.Usage, error) {
	var version int64
	if err := u.row(ctx, versionStatement).Scan(&version); err != nil {
		return nil, err
	}
	if !s.loaded || s.version != version || s.newest.seq != newest.seq || s.newest.records != newest.records {
		if err := s.load(ctx, u); err != nil {
			return nil, err
		}
		s.version = version
	}
	var fresh []store.Usage // nil: all so far
	for i := range records {
		pace.Round(ctx, i)
		id := records[i].ID
		known, err := s.isLoose(ctx, u, id)
		if err != nil {
			return nil, err
		}
		known = known || !s.add(id)
		switch {
		case known && fresh == nil:
			fresh = append(make([]store.Usage, 0, len(records)-1), records[:i]...)
		case !known && fresh != nil:
			fresh = append(fresh, records[i])
		}
	}
	if fresh == nil {
		return records, nil
	}
	return fresh, nil
}

// load begins with the newest that the database has.
func (s *seen) load(ctx context.Context, u *unit) error {
	*s = seen{loaded: true, seed: maphash.MakeSeed()}
	var ids []string // newest first
	err := eachBlock(ctx, u, `SELECT seq, last, data FROM usage_blocks ORDER BY seq DESC`, nil, func(b storedBlock) (bool, error) {
		records, _ := b.read() // none of one that cannot be read: what comes now must be stored nevertheless
		for _, r := range slices.Backward(records) {
			ids = append(ids, r.ID)
		}
		return len(ids) < keptSeen, nil
	})
	if err != nil {
		return err
	}
	for _, id := range slices.Backward(ids) {
		s.add(id)
	}
	err = u.QueryRowContext(ctx, `SELECT ? WHERE EXISTS (SELECT 1 FROM usage)`, keptSeen).Scan(&s.looseFor)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return err
}

// isLoose reports whether a record is in the table usage, where it may be for as long as a journal may send again what is there.
func (s *seen) isLoose(ctx context.Context, u *unit, id string) (is bool, err error) {
	if s.looseFor == 0 {
		return false, nil
	}
	s.looseFor--
	err = u.row(ctx, looseStatement, id).Scan(&is)
	return is, err
}
