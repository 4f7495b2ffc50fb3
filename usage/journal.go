// Package usage keeps the records of consumers' requests from the moment a request ends until the store has them. A
// record is in a journal file before Record returns, copied into a shared mapping of it or, where that is not possible,
// written with pwrite(2), so it survives the end of the process, even by SIGKILL. In the background the file is synced (a
// power loss takes at most the last SyncEvery) and its records are handed to the sink in batches, again and again until it
// takes them. What the sink has is forgotten a whole file at a time, so after a crash a batch may be sent twice: the sink
// must know a record by its id, as store.Store does.
//
//	Record -> segment file -> deliver -> Sink -> segment removed
package usage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"apibuilder/store"
)

// Defaults of Options.
const (
	DefaultMaxBytes     = 1 << 30
	DefaultSegmentBytes = 2 << 20
	DefaultBatchRecords = 2048
	DefaultBatchEvery   = 250 * time.Millisecond
	DefaultSyncEvery    = time.Second
)

const (
	deliverTimeout = 30 * time.Second // for one batch
	firstBackoff   = 250 * time.Millisecond
	longestBackoff = 30 * time.Second
)

// ErrNotRunning says that Record or Flush was called before Start or after Stop.
var ErrNotRunning = errors.New("usage journal is not running")

// FullError is what Record returns while the journal holds as much as it may, because the sink has been away for long.
// Nothing was written; the caller decides between refusing the request and serving it uncounted.
type FullError struct{ Bytes, MaxBytes int64 }

func (e *FullError) Error() string {
	return fmt.Sprintf("usage journal is full (%d of %d bytes): the store has not taken records for a long time",
		e.Bytes, e.MaxBytes)
}

// Sink takes a batch whole or not at all, and takes a record whose id it knows without counting it again. It must know those of a
// file's records, up to twice DefaultSegmentBytes, and of a batch more. It must never refuse one record for good, because the records behind it
// would wait for ever. The slice is the journal's again when it has returned. Its context is pace.Patient while there is time.
type Sink interface {
	AddUsage(ctx context.Context, records []store.Usage) error
}

// Options of a journal; a zero field means its default.
type Options struct {
	MaxBytes     int64 // of records; beyond it Record returns a FullError
	SegmentBytes int64 // when a new file is begun; at most a quarter of MaxBytes
	BatchRecords int   // handed to the sink at once
	BatchEvery   time.Duration
	SyncEvery    time.Duration
	Log          *zap.Logger // nil: none
}

// Journal is the file of records that the sink does not have yet. Safe for concurrent use.
type Journal struct {
	dir  string
	sink Sink
	opts Options
	log  *zap.Logger

	lifecycle sync.Mutex // held by Start and Stop
	started   bool
	stopped   bool
	lock      *os.File // flock: one process a directory
	ctx       context.Context
	cancel    context.CancelFunc // ends a batch under way
	stopping  chan struct{}
	workers   sync.WaitGroup
	lastErr   error    // of the last delivery; owned by the deliverer, read after it ended
	room      readRoom // the deliverer's

	mu       sync.Mutex
	running  bool
	segments []*segment // oldest first; the last one is written to
	bytes    int64      // of records in all segments
	written  bool       // new segments are written, not mapped: the file system has no fallocate(2), or a test says so
	progress chan struct{}

	wake    chan struct{} // a batch is full, or somebody flushes
	pending atomic.Int64
	damaged atomic.Int64
}

// Open returns a journal in dir, which Start makes (mode 0700) if it is missing. It does nothing yet.
func Open(dir string, sink Sink, opts Options) (*Journal, error) {
	if dir == "" || sink == nil {
		return nil, errors.New("open usage journal: give a directory and a sink")
	}
	if opts.MaxBytes < 0 || opts.SegmentBytes < 0 || opts.BatchRecords < 0 || opts.BatchEvery < 0 || opts.SyncEvery < 0 {
		return nil, fmt.Errorf("open usage journal: options %+v: use positive numbers, or zero for the default", opts)
	}
	opts.MaxBytes = or(opts.MaxBytes, DefaultMaxBytes)
	opts.SegmentBytes = min(or(opts.SegmentBytes, DefaultSegmentBytes), opts.MaxBytes/4)
	opts.BatchRecords = or(opts.BatchRecords, DefaultBatchRecords)
	opts.BatchEvery = or(opts.BatchEvery, DefaultBatchEvery)
	opts.SyncEvery = or(opts.SyncEvery, DefaultSyncEvery)
	log := opts.Log
	if log == nil {
		log = zap.NewNop()
	}
	return &Journal{
		dir: dir, sink: sink, opts: opts, log: log, stopping: make(chan struct{}),
		progress: make(chan struct{}), wake: make(chan struct{}, 1),
	}, nil
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Record writes one record; it is in the file when Record returns nil. Text is stored as Usage.Clean makes it and long
// text is cut (a path after 2048 bytes), because consumers choose it. Errors: a *FullError, ErrNotRunning, a missing or
// overlong id, the file system's.
func (j *Journal) Record(u store.Usage) error {
	if u.ID == "" || len(u.ID) > maxText {
		return fmt.Errorf("record usage: id of %d bytes: want 1 to %d", len(u.ID), maxText)
	}
	room := rooms.Get().(*[]byte)
	defer rooms.Put(room)
	*room = appendRecord((*room)[:0], &u)
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.running {
		return fmt.Errorf("record usage: %w", ErrNotRunning)
	}
	if j.bytes+int64(len(*room)) > j.opts.MaxBytes {
		return fmt.Errorf("record usage: %w", &FullError{j.bytes, j.opts.MaxBytes})
	}
	if err := j.appendLocked(*room); err != nil {
		return fmt.Errorf("record usage: %w", err)
	}
	if j.pending.Add(1) == int64(j.opts.BatchRecords) {
		j.nudge()
	}
	return nil
}

// mostOverdue is how many times SegmentBytes a segment becomes at most while no other can be made. The sink knows the records of so much.
const mostOverdue = 2

// nextLocked returns the segment for the next record: the last one, or a new one when that is full. Where none can be made, because there is
// no inode or no descriptor left, the last one goes on for a while.
func (j *Journal) nextLocked() (*segment, error) {
	s := j.segments[len(j.segments)-1]
	size := s.size.Load()
	if size < j.opts.SegmentBytes {
		return s, nil
	}
	err := j.turnLocked()
	switch {
	case err == nil:
		return j.segments[len(j.segments)-1], nil
	case size >= mostOverdue*j.opts.SegmentBytes:
		return nil, err
	case !s.overdue:
		s.overdue = true
		j.log.Error("usage journal cannot begin a new file, it goes on in the one that it has", zap.Error(err),
			zap.String("segment", s.file.Name()))
	}
	return s, nil
}

// appendLocked puts a record into a segment.
func (j *Journal) appendLocked(record []byte) error {
	s, err := j.nextLocked()
	if err != nil {
		return err
	}
	unmapped, err := s.put(record)
	if unmapped != nil {
		j.written = j.written || errors.Is(unmapped, unix.EOPNOTSUPP)
		j.log.Warn("usage journal cannot map its file, it goes on by writing", zap.Error(unmapped),
			zap.String("segment", s.file.Name()))
	}
	if err != nil {
		return err
	}
	s.waiting.Add(1)
	s.size.Add(int64(len(record)))
	if !s.dirty.Load() {
		s.dirty.Store(true)
	}
	j.bytes += int64(len(record))
	return nil
}

// turnLocked begins a new segment.
func (j *Journal) turnLocked() error {
	last := j.segments[len(j.segments)-1]
	next, err := createSegment(j.dir, last.number+1, j.roomLocked())
	if err != nil {
		return err
	}
	last.sealed.Store(true)
	j.segments = append(j.segments, next)
	return nil
}

// roomLocked returns how much of a new segment is mapped.
func (j *Journal) roomLocked() int64 {
	if j.written {
		return 0
	}
	return j.opts.SegmentBytes + overhang
}

// Settle is Flush after which no file has what was delivered: a process that is killed leaves nothing to be delivered again but
// what is recorded from the call on.
func (j *Journal) Settle(ctx context.Context) error {
	j.mu.Lock()
	if j.running && j.segments[len(j.segments)-1].size.Load() > 0 {
		if err := j.turnLocked(); err != nil {
			j.mu.Unlock()
			return fmt.Errorf("begin a new file of the usage journal: %w", err)
		}
	}
	j.mu.Unlock()
	return j.Flush(ctx)
}

// Pending returns how many records the sink does not have yet.
func (j *Journal) Pending() int64 { return j.pending.Load() }

// Damaged returns how many pieces of files were no records since Start: torn by a crash, or changed by somebody. They are dropped.
func (j *Journal) Damaged() int64 { return j.damaged.Load() }

// Bytes returns the size of all records in the journal. On disk the last file has up to 256 KiB more, reserved behind
// them, and so has a file before it until the next sync.
func (j *Journal) Bytes() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.bytes
}

// Flush returns once the sink has every record whose Record returned before the call, without waiting for a batch to
// fill or for a pause after a failure to end. It returns the context's error when that ends first.
func (j *Journal) Flush(ctx context.Context) error {
	j.mu.Lock()
	if !j.running {
		j.mu.Unlock()
		return fmt.Errorf("flush usage: %w", ErrNotRunning)
	}
	last := j.segments[len(j.segments)-1]
	goal := last.size.Load()
	j.mu.Unlock()
	for {
		j.mu.Lock()
		done := j.deliveredLocked(last, goal)
		progress, running := j.progress, j.running
		j.mu.Unlock()
		if done {
			return nil
		}
		if !running {
			return fmt.Errorf("flush usage: %w", ErrNotRunning)
		}
		j.nudge()
		select {
		case <-ctx.Done():
			return fmt.Errorf("flush usage: %d records wait: %w", j.Pending(), context.Cause(ctx))
		case <-progress:
		}
	}
}

// deliveredLocked reports whether the sink has everything up to an offset in s, and so all of the segments before it.
func (j *Journal) deliveredLocked(s *segment, offset int64) bool {
	if len(j.segments) == 0 {
		return false
	}
	first := j.segments[0]
	return first.number > s.number || first == s && s.delivered.Load() >= offset
}

func (j *Journal) nudge() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}
