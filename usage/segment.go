package usage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"apibuilder/pace"
	"apibuilder/store"
)

// readBytes is read from a segment at once: many records.
const readBytes = 512 << 10

// segment is one file of the journal. The journal's mutex guards writing; the deliverer alone reads. Behind its records a
// file may have zeros, the room that was reserved for more. They are cut off when the segment is sealed, and after the end
// of a process that could not do so they are no damage.
type segment struct {
	number    int
	file      *os.File
	mapping   mapping      // of one that grows
	padded    bool         // may have zeros behind its records
	overdue   bool         // is full, and goes on because there could be no other
	broken    time.Time    // since when it cannot be read; owned by the deliverer
	finished  sync.Once    // finish or remove has released the mapping
	size      atomic.Int64 // up to the end of the last whole record
	delivered atomic.Int64 // the sink has everything before this
	waiting   atomic.Int64 // records behind delivered
	sealed    atomic.Bool  // does not grow any more
	dirty     atomic.Bool  // has bytes that are not synced
	named     atomic.Bool  // its directory entry is synced
}

// setAsideAs ends the name of one that could not be read.
const setAsideAs = ".unreadable"

func segmentName(number int) string { return fmt.Sprintf("usage-%08d.log", number) }

// createSegment makes an empty one, of which room bytes are going to be mapped; 0: it is written.
func createSegment(dir string, number int, room int64) (*segment, error) {
	f, err := os.OpenFile(filepath.Join(dir, segmentName(number)), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return &segment{number: number, file: f, mapping: mapping{room: room}}, nil
}

// openSegments returns what is left in dir, oldest first, for count to look into. The caller closes what is returned, even
// beside an error.
func openSegments(dir string) ([]*segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []*segment
	for _, e := range entries {
		var number int
		if _, err := fmt.Sscanf(e.Name(), "usage-%d.log", &number); err != nil || e.Name() != segmentName(number) {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, e.Name()), os.O_RDWR, 0)
		if err != nil {
			return all, err
		}
		info, err := f.Stat()
		if err != nil { // of unknown size, it must not be taken for an empty one
			return all, errors.Join(err, f.Close())
		}
		s := &segment{number: number, file: f}
		s.size.Store(info.Size())
		s.sealed.Store(true)
		s.dirty.Store(true) // a process that was killed has not synced its last
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *segment) int { return a.number - b.number })
	return all, nil
}

// count returns the number of records in a segment that an earlier process left, and finds where they end.
func (s *segment) count() (int64, error) {
	size, err := s.trim()
	if err != nil {
		return 0, err
	}
	var records int64
	buf := make([]byte, readBytes)
	for at := int64(0); at < size; {
		b := buf[:min(size-at, readBytes)]
		if _, err := s.file.ReadAt(b, at); err != nil {
			return 0, err
		}
		done, _ := eachRecord(b, at+int64(len(b)) == size, func(int, int) bool {
			records++
			return true
		})
		at += int64(done)
	}
	s.waiting.Store(records)
	return records, nil
}

// trim finds where the records of such a segment end: at the last byte that is not zero.
func (s *segment) trim() (size int64, err error) {
	buf := make([]byte, readBytes)
	for end := s.size.Load(); end > 0; {
		b := buf[:min(end, readBytes)]
		if _, err := s.file.ReadAt(b, end-int64(len(b))); err != nil {
			return 0, err
		}
		used := bytes.TrimRight(b, "\x00")
		if end += int64(len(used) - len(b)); len(used) > 0 {
			size = end
			break
		}
	}
	s.padded = size < s.size.Swap(size)
	return size, nil
}

// put adds a record at the end that is known rather than with O_APPEND: what a failed one left behind is overwritten by
// the next instead of being joined to it. It is copied into the mapping. One that cannot be is written with pwrite(2), and
// so are those after it: unmapped is the reason, told once, and err is not nil when writing failed as well.
func (s *segment) put(record []byte) (unmapped, err error) {
	at := s.size.Load()
	if s.mapping.room > 0 {
		s.padded = true
		if unmapped = s.mapping.put(s.file, record, at); unmapped == nil {
			return nil, nil
		}
		unmapped = errors.Join(unmapped, s.unmap()) // on a full disk this gives back what writing needs
	}
	_, err = s.file.WriteAt(record, at)
	return unmapped, err
}

// unmap releases the mapping and cuts the file to its records.
func (s *segment) unmap() error {
	err := s.mapping.release()
	if s.padded {
		err = errors.Join(err, s.file.Truncate(s.size.Load()))
	}
	s.padded = err != nil
	return err
}

// finish unmaps a sealed segment. It is called beside the requests, because it takes longer than beginning the next one.
func (s *segment) finish() (err error) {
	s.finished.Do(func() { err = s.unmap() })
	return err
}

// batch is what one read found.
type batch struct {
	records []store.Usage
	end     int64 // where it ends in the file
	damaged int64 // pieces that are no records
	more    bool  // the file goes on
}

// readRoom is memory for one batch after the other.
type readRoom struct {
	bytes   []byte
	records []store.Usage
}

// take returns so many bytes, of which it does not say what they are.
func (r *readRoom) take(n int64) []byte {
	if int64(cap(r.bytes)) < n {
		r.bytes = make([]byte, n)
	}
	return r.bytes[:n]
}

// done forgets what the records point to.
func (r *readRoom) done() {
	clear(r.records)
	r.records = r.records[:0]
}

// read returns up to most of the oldest records that are not delivered, in room, which is the batch's until done. It takes breaks where ctx is
// patient. In a segment that is not sealed, what is no record at its end is left for later.
func (s *segment) read(ctx context.Context, room *readRoom, most int, sealed bool) (batch, error) {
	size, start := s.size.Load(), s.delivered.Load()
	buf := room.take(min(size-start, readBytes))
	n, err := s.file.ReadAt(buf, start)
	if err != nil && !errors.Is(err, io.EOF) {
		return batch{}, err
	}
	clear(buf[n:]) // somebody made the file shorter: zeros are no records
	b := batch{records: room.records[:0]}
	text := string(buf) // that all records have parts of
	var before store.Usage
	unread := int64(0)
	done, damaged := eachRecord(buf, sealed && start+int64(len(buf)) == size, func(from, to int) bool {
		u, err := decodeRecord(buf[from:to], text[from:to], &before)
		if err != nil {
			unread++
			return true
		}
		b.records = append(b.records, u)
		before = u
		pace.Round(ctx, len(b.records)-1)
		return len(b.records) < most
	})
	b.end, b.damaged = start+int64(done), damaged+unread
	b.more = b.end < size
	room.records = b.records
	return b, nil
}

// eachRecord calls fn with the place of each record of b, until it wants no more. last says that nothing will be behind b; otherwise what b ends
// with may be the begin of a record. It returns how much of b is done with, and how many pieces of it were no records.
func eachRecord(b []byte, last bool, fn func(from, to int) (more bool)) (done int, damaged int64) {
	whole := wholeRecord
	if bytes.IndexByte(b, recordStart) < 0 { // not even in a text of a record, so that nobody can write a line into a path
		whole = wholeLine
	}
	for done < len(b) {
		if n := whole(b[done:]); n > 0 {
			done += n
			if !fn(done-n, done) {
				return done, damaged
			}
			continue
		}
		skipped := toRecord(b[done:], whole, last)
		if skipped == 0 {
			return done, damaged
		}
		done += skipped
		damaged++
	}
	return done, damaged
}

// toRecord returns how far it is to the first record behind what b begins with, or to where one may begin that b has not all of.
func toRecord(b []byte, whole func([]byte) int, last bool) int {
	for i := 1; i < len(b); i++ {
		if whole(b[i:]) > 0 {
			return i
		}
	}
	if last {
		return len(b)
	}
	return max(0, len(b)-longestRecord+1)
}

// sync makes the segment survive a power loss: fsync(2) writes what was copied into the mapping, too. One that was removed
// meanwhile needs no sync.
func (s *segment) sync() error {
	var cut error
	if s.sealed.Load() {
		cut = s.finish()
	}
	if s.dirty.Swap(false) {
		if err := s.file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
			s.dirty.Store(true)
			return errors.Join(cut, err)
		}
	}
	if s.named.Load() {
		return cut
	}
	err := s.syncDirectory()
	s.named.Store(err == nil)
	return errors.Join(cut, err)
}

// syncDirectory makes it survive a power loss that the segment has its name, or has it no more.
func (s *segment) syncDirectory() error {
	dir, err := os.Open(filepath.Dir(s.file.Name()))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// remove ends a segment to which nothing is added any more, for good: long after, the sink would take its records for new ones. One that
// cannot be removed is emptied.
func (s *segment) remove() (err error) {
	s.finished.Do(func() { err = s.mapping.release() })
	switch gone := os.Remove(s.file.Name()); {
	case gone == nil:
		err = errors.Join(err, s.syncDirectory())
	case !errors.Is(gone, fs.ErrNotExist):
		err = errors.Join(err, gone, s.file.Truncate(0))
	}
	return errors.Join(err, s.file.Close())
}
