package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"hash/maphash"

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

// seen are the ids of the records that were stored last, between one and two times keptSeen of them, as hashes: two different ids that
// are taken for the same are less likely than a wrong bit in memory. The zero value knows nothing, and asks the database.
type seen struct {
	loaded     bool
	newest     storedBlock // what was the newest when these were known,
	version    int64       // and what SQLite called the data; they tell that another process has stored more
	seed       maphash.Seed
	young, old map[uint64]struct{}
	looseFor   int // how many records more are looked for in the table usage
}

// add returns false for an id that is known.
func (s *seen) add(id string) bool {
	hash := maphash.String(s.seed, id)
	if _, known := s.young[hash]; known {
		return false
	}
	if _, known := s.old[hash]; known {
		return false
	}
	if len(s.young) == keptSeen {
		s.young, s.old = s.old, s.young
		clear(s.young)
	}
	s.young[hash] = struct{}{}
	return true
}

// fresh returns the records that are not known, each once, and knows them. newest is the newest block as it is in the transaction.
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
	fresh := records[:0]
	for i, r := range records {
		pace.Round(ctx, i)
		is, err := s.isLoose(ctx, u, r.ID)
		if err != nil {
			return nil, err
		}
		if !is && s.add(r.ID) {
			fresh = append(fresh, r)
		}
	}
	return fresh, nil
}

// load begins with the newest that the database has.
func (s *seen) load(ctx context.Context, u *unit) error {
	*s = seen{loaded: true, seed: maphash.MakeSeed(), young: map[uint64]struct{}{}, old: map[uint64]struct{}{}}
	read := 0 // one rotation at the most, which leaves the newest in old
	err := eachBlock(ctx, u, `SELECT seq, last, data FROM usage_blocks ORDER BY seq DESC`, nil, func(b storedBlock) (bool, error) {
		records, _ := b.read() // none of one that cannot be read: what comes now must be stored nevertheless
		for i := range records {
			s.add(records[i].ID)
		}
		read += len(records)
		return read < keptSeen, nil
	})
	if err != nil {
		return err
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
