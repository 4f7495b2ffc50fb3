package usage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Start takes the directory for this process, finds what an earlier one left there, and begins to deliver it; Record
// works when it returns. A directory that another process uses is an error. ctx bounds the start only.
func (j *Journal) Start(ctx context.Context) error {
	j.lifecycle.Lock()
	defer j.lifecycle.Unlock()
	if j.started {
		return errors.New("start usage journal: it was started before")
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("start usage journal: %w", err)
	}
	if err := j.openDirectory(); err != nil {
		return errors.Join(fmt.Errorf("start usage journal in %s: %w", j.dir, err), j.closeFiles())
	}
	j.started = true
	j.ctx, j.cancel = context.WithCancel(context.Background())
	j.mu.Lock()
	j.running = true
	j.mu.Unlock()
	j.workers.Go(j.deliverAll)
	j.workers.Go(j.syncAll)
	return nil
}

func (j *Journal) openDirectory() error {
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(j.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	j.lock = lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("lock it (is another server using this data directory? end that one first): %w", err)
	}
	left, err := openSegments(j.dir)
	j.segments = left
	if err != nil {
		return err
	}
	j.bytes = 0
	j.pending.Store(0)
	next := 1
	for _, s := range left {
		records, err := s.count()
		if err != nil {
			return fmt.Errorf("%w: move the file away to start without its records", err)
		}
		j.pending.Add(records)
		j.bytes += s.size.Load()
		next = s.number + 1
	}
	// A new file, because the last line of the old one may be torn.
	current, err := createSegment(j.dir, next, j.roomLocked())
	if err != nil {
		return err
	}
	j.segments = append(j.segments, current)
	return nil
}

// Stop takes no more records, gives the sink what is left and waits for its goroutines. What the sink does not take, at
// the first failure or when ctx ends, stays on disk for the next Start, and the error says so. It may be called twice
// and without a start.
func (j *Journal) Stop(ctx context.Context) error {
	j.lifecycle.Lock()
	defer j.lifecycle.Unlock()
	if !j.started || j.stopped {
		return nil
	}
	j.stopped = true
	j.mu.Lock()
	j.running = false
	j.mu.Unlock()
	close(j.stopping)
	done := make(chan struct{})
	go func() {
		j.workers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		j.cancel()
		<-done
	}
	j.cancel()
	var left error
	if j.undelivered() {
		left = fmt.Errorf("%d records stay in the journal for the next start: %w", j.Pending(),
			errors.Join(j.lastErr, ctx.Err()))
	}
	if err := errors.Join(left, j.closeFiles()); err != nil {
		return fmt.Errorf("stop usage journal: %w", err)
	}
	return nil
}

func (j *Journal) undelivered() bool {
	return slices.ContainsFunc(j.segments, func(s *segment) bool { return s.delivered.Load() < s.size.Load() })
}

// closeFiles keeps records that are not delivered on disk for good, and removes an empty or delivered segment.
func (j *Journal) closeFiles() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for _, s := range j.segments {
		s.sealed.Store(true)
		if s.delivered.Load() >= s.size.Load() {
			errs = append(errs, s.remove())
		} else {
			errs = append(errs, s.sync(), s.file.Close())
		}
	}
	j.segments = nil
	if j.lock != nil {
		errs = append(errs, j.lock.Close())
	}
	return errors.Join(errs...)
}
