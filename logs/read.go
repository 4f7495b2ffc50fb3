package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

const (
	searches   = 4 // that go on at a time, over all APIs, and as many with a pattern, which may take longer
	searchTime = time.Minute
	looseness  = time.Minute // by which lines may be out of their order

	// So many lines in a row that are too old end a search. Fewer may be of a clock that was wrong, as that of a machine is until it has
	// asked for the time, and have others before them that are not.
	oldInARow = 1000
)

// ErrTooLong says that a search was given up.
var ErrTooLong = errors.New("the search takes too long")

// Read returns the newest lines that the filter chooses, at most n, oldest first; none for an API that has no log. It waits
// while many others search. Errors: ErrTooLong, the context's, those of reading.
func (b *Book) Read(ctx context.Context, api string, f Filter, n int) ([]Line, error) {
	p, err := b.page(api)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	s, err := p.snapshotLocked()
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	defer s.close()
	return b.search(ctx, s, p.oldest(), f, n)
}

// Follow returns what Read does, and a Follower that gets every line appended after that which the filter chooses, whose Since is about
// those that are there: a clock may have been set back since. Close it. ErrBusy when an API has too many of them.
func (b *Book) Follow(ctx context.Context, api string, f Filter, n int) ([]Line, *Follower, error) {
	p, err := b.page(api)
	if err != nil {
		return nil, nil, err
	}
	p.mu.Lock()
	p.readOnLocked()
	s, err := p.snapshotLocked()
	var follower *Follower
	if err == nil {
		coming := f
		coming.Since = time.Time{}
		if follower, err = p.followLocked(coming); err != nil {
			s.close()
		} else {
			p.beginTailsLocked(s)
		}
	}
	p.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	defer s.close()
	lines, err := b.search(ctx, s, p.oldest(), f, n)
	if err != nil {
		follower.Close()
		return nil, nil, err
	}
	return lines, follower, nil
}

// search looks through a snapshot. Lines from before oldest are over their age.
func (b *Book) search(ctx context.Context, s *snapshot, oldest time.Time, f Filter, n int) ([]Line, error) {
	places := b.searching
	if f.Pattern != nil {
		places = b.matching
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.Since.Before(oldest) {
		f.Since = oldest
	}
	var lines []Line
	var broken error
	began, seen, old, request, pacing := time.Now(), 0, 0, []byte(f.Request), newPacing()
	err := s.eachBackward(func(raw []byte) bool {
		if len(lines) >= n {
			return false
		}
		if seen++; seen%16 == 0 || f.Pattern != nil {
			pacing.pause(ctx)
			if broken = ctx.Err(); broken == nil && time.Since(began) > searchTime {
				broken = ErrTooLong
			}
			if broken != nil {
				return false
			}
		}
		if f.Request != "" && !bytes.Contains(raw, request) {
			return true
		}
		var l Line
		if json.Unmarshal(raw, &l) != nil { // a killed server may have left half a line
			return true
		}
		if f.Match(l) {
			lines = append(lines, l)
		}
		if f.Since.IsZero() || !l.Time.Before(f.Since.Add(-looseness)) {
			old = 0
			return true
		}
		old++
		return old < oldInARow
	})
	slices.Reverse(lines)
	return lines, errors.Join(err, broken)
}

// snapshotLocked opens what there is of an API's log.
func (p *page) snapshotLocked() (*snapshot, error) {
	s := &snapshot{}
	for _, path := range []string{p.path, p.path + older} {
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			s.close()
			return nil, fmt.Errorf("open the log: %w", err)
		}
		s.files = append(s.files, file)
		info, err := file.Stat()
		if err != nil {
			s.close()
			return nil, fmt.Errorf("open the log: %w", err)
		}
		s.sizes = append(s.sizes, info.Size())
	}
	return s, nil
}
