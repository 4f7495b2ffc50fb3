package usage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"apibuilder/store"
)

// readBytes is read from a segment at once: many lines, the longest of which has about 20 KiB.
const readBytes = 512 << 10

// segment is one file of the journal. The journal's mutex guards writing; the deliverer alone reads.
type segment struct {
	number    int
	file      *os.File
	size      atomic.Int64 // up to the end of the last whole record
	delivered atomic.Int64 // the sink has everything before this
	waiting   atomic.Int64 // records behind delivered
	sealed    atomic.Bool  // does not grow any more
	dirty     atomic.Bool  // has bytes that are not synced
	named     atomic.Bool  // its directory entry is synced
}

func segmentName(number int) string { return fmt.Sprintf("usage-%08d.log", number) }

func createSegment(dir string, number int) (*segment, error) {
	f, err := os.OpenFile(filepath.Join(dir, segmentName(number)), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return &segment{number: number, file: f}, nil
}

// openSegments returns what is left in dir, oldest first. The caller closes what is returned, even beside an error.
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
		s := &segment{number: number, file: f}
		all = append(all, s)
		info, err := f.Stat()
		if err != nil {
			return all, err
		}
		s.size.Store(info.Size())
		s.sealed.Store(true)
	}
	slices.SortFunc(all, func(a, b *segment) int { return a.number - b.number })
	return all, nil
}

// count returns the number of lines in a segment that an earlier process left.
func (s *segment) count() (int64, error) {
	var lines int64
	buf := make([]byte, readBytes)
	for at := int64(0); ; {
		n, err := s.file.ReadAt(buf, at)
		lines += int64(bytes.Count(buf[:n], []byte{'\n'}))
		at += int64(n)
		if errors.Is(err, io.EOF) {
			s.waiting.Store(lines)
			return lines, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// batch is what one read found.
type batch struct {
	records []store.Usage
	end     int64 // where it ends in the file
	damaged int64 // unreadable lines
	more    bool  // the file goes on
}

// read returns up to most of the oldest records that are not delivered. A line that does not end is a torn one in a
// sealed segment.
func (s *segment) read(most int, sealed bool) (batch, error) {
	size, start := s.size.Load(), s.delivered.Load()
	buf := make([]byte, min(size-start, readBytes))
	n, err := s.file.ReadAt(buf, start)
	if err != nil && !errors.Is(err, io.EOF) {
		return batch{}, err
	}
	b := batch{end: start}
	clear(buf[n:]) // somebody made the file shorter: zeros are no lines either
	for len(b.records) < most {
		line, rest, found := bytes.Cut(buf, []byte{'\n'})
		if !found {
			b.skipTorn(len(buf), start, size, sealed)
			break
		}
		b.add(line)
		b.end += int64(len(line)) + 1
		buf = rest
	}
	b.more = b.end < size
	return b, nil
}

func (b *batch) add(line []byte) {
	u, whole, err := decodeLine(line)
	if err == nil {
		b.records = append(b.records, u)
	}
	if err != nil || !whole {
		b.damaged++
	}
}

// skipTorn passes over the rest of what was read, which has no newline, if none can come any more.
func (b *batch) skipTorn(rest int, start, size int64, sealed bool) {
	atEnd := b.end+int64(rest) == size
	longerThanALine := b.end == start && rest == readBytes
	if rest > 0 && (atEnd && sealed || longerThanALine) {
		b.damaged++
		b.end += int64(rest)
	}
}

// sync makes the segment survive a power loss. One that was removed meanwhile needs no sync.
func (s *segment) sync() error {
	if s.dirty.Swap(false) {
		if err := s.file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
			s.dirty.Store(true)
			return err
		}
	}
	if s.named.Load() {
		return nil
	}
	dir, err := os.Open(filepath.Dir(s.file.Name()))
	if err != nil {
		return err
	}
	s.named.Store(true)
	return errors.Join(dir.Sync(), dir.Close())
}

func (s *segment) remove() error {
	err := os.Remove(s.file.Name())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, s.file.Close())
}
