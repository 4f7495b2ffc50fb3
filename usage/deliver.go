package usage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"apibuilder/pace"
	"apibuilder/store"
)

// deliverAll hands batches to the sink until the journal stops, and then what is left, until a failure.
func (j *Journal) deliverAll() {
	timer := time.NewTimer(j.opts.BatchEvery)
	defer timer.Stop()
	defer j.tell() // a Flush under way ends
	backoff := time.Duration(0)
	for stopping := false; ; {
		more, err := j.deliverBatch()
		j.lastErr = err
		switch {
		case err != nil && stopping:
			return
		case err != nil:
			backoff = min(max(2*backoff, firstBackoff), longestBackoff)
			j.log.Warn("usage records are not delivered, they wait in the journal", zap.Error(err),
				zap.Int64("pending", j.Pending()), zap.Duration("next_attempt_in", backoff))
			timer.Reset(backoff)
		case more:
			backoff = 0
			continue
		case stopping:
			return
		default:
			backoff = 0
			timer.Reset(j.opts.BatchEvery)
		}
		select {
		case <-j.stopping:
			stopping = true
		case <-j.wake:
		case <-timer.C:
		}
	}
}

// batchesInTime are as many as may wait while batches take their time. Beyond that the journal would grow.
const batchesInTime = 3

// work is for a batch that takes breaks, unless somebody waits for the end or too many records wait.
func (j *Journal) work() context.Context {
	select {
	case <-j.stopping:
		return j.ctx
	default:
	}
	if j.Pending() > int64(batchesInTime*j.opts.BatchRecords) {
		return j.ctx
	}
	return pace.Patient(j.ctx)
}

// deliverBatch hands the oldest records over, and reports whether there may be more at once.
func (j *Journal) deliverBatch() (more bool, err error) {
	ctx := j.work()
	j.mu.Lock()
	s := j.segments[0]
	sealed := s.sealed.Load()
	j.mu.Unlock()
	b, err := s.read(ctx, &j.room, j.opts.BatchRecords, sealed)
	defer j.room.done()
	if err != nil {
		return j.unreadable(s, err)
	}
	s.broken = time.Time{}
	if len(b.records) > 0 {
		if err := j.hand(ctx, b.records); err != nil {
			return false, err
		}
	}
	s.waiting.Add(-int64(len(b.records)))
	j.pending.Add(-int64(len(b.records)))
	if b.damaged > 0 {
		j.damaged.Add(b.damaged)
		j.log.Error("usage journal has pieces that are no records, they are dropped", zap.Int64("pieces", b.damaged),
			zap.String("segment", s.file.Name()))
	}
	progress := b.end > s.delivered.Swap(b.end) // behind the counts, which somebody may look at after a Flush
	if sealed && !b.more {
		j.forget(s)
	}
	j.tell()
	return sealed || b.more && progress, nil
}

// unreadableFor is for how long a segment that cannot be read is tried again before it is set aside.
const unreadableFor = time.Minute

// unreadable has the oldest segment tried again, or set aside when that has lasted: it would keep those behind it until the journal is full.
func (j *Journal) unreadable(s *segment, why error) (more bool, err error) {
	if s.broken.IsZero() {
		s.broken = time.Now()
	}
	err = fmt.Errorf("read usage journal: %w", why)
	if time.Since(s.broken) < unreadableFor {
		return false, err
	}
	kept, aside := j.setAside(s)
	if aside != nil {
		return false, errors.Join(err, aside)
	}
	j.log.Error("a file of the usage journal cannot be read, its records are not delivered: while no server runs, copy what of it can be read, but for "+
		"the bytes that were delivered before, to a name of the journal that is free, to have it tried again", zap.Error(why),
		zap.String("kept_as", kept), zap.Int64("bytes_delivered_before", s.delivered.Load()))
	return true, nil
}

// setAside renames the oldest segment to what is no segment.
func (j *Journal) setAside(s *segment) (kept string, err error) {
	if kept, err = j.renameAside(s); err != nil {
		return "", err
	}
	_ = errors.Join(s.finish(), s.file.Close()) // its disk fails, and requests need not wait for that
	return kept, nil
}

func (j *Journal) renameAside(s *segment) (kept string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !s.sealed.Load() {
		if err := j.turnLocked(); err != nil {
			return "", err
		}
	}
	kept = s.file.Name() + time.Now().UTC().Format(".20060102T150405.000000") + setAsideAs // numbers are used again
	if err := os.Rename(s.file.Name(), kept); err != nil {
		return "", err
	}
	j.segments = j.segments[1:]
	j.bytes -= s.size.Load()
	j.pending.Add(-s.waiting.Swap(0))
	return kept, nil
}

func (j *Journal) hand(ctx context.Context, records []store.Usage) error {
	ctx, cancel := context.WithTimeout(ctx, deliverTimeout)
	defer cancel()
	return j.sink.AddUsage(ctx, records)
}

// forget removes the oldest segment.
func (j *Journal) forget(s *segment) {
	j.mu.Lock()
	j.segments = j.segments[1:]
	j.bytes -= s.size.Load()
	j.mu.Unlock()
	j.pending.Add(-s.waiting.Swap(0)) // records that were counted and could not be read
	if err := s.remove(); err != nil {
		j.log.Error("remove delivered usage segment", zap.Error(err))
	}
}

// tell wakes every Flush.
func (j *Journal) tell() {
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.progress)
	j.progress = make(chan struct{})
}

// syncAll makes what was written survive a power loss, beside the deliverer, which may wait for the sink.
func (j *Journal) syncAll() {
	ticker := time.NewTicker(j.opts.SyncEvery)
	defer ticker.Stop()
	for {
		select {
		case <-j.stopping:
			return
		case <-ticker.C:
		}
		j.mu.Lock()
		segments := append([]*segment(nil), j.segments...)
		j.mu.Unlock()
		for _, s := range segments {
			if err := s.sync(); err != nil {
				j.log.Error("sync usage journal: a power loss may take records", zap.Error(err))
			}
		}
	}
}
