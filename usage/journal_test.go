package usage

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/pace"
	"apibuilder/store"
)

func TestRecordsReachTheSinkInOrder(t *testing.T) {
	s := newSink()
	j := start(t, t.TempDir(), s, Options{})
	const many = 2*DefaultBatchRecords + 1
	put(t, j, 0, many)
	flush(t, j)
	s.has(t, many)
	if slices.Max(s.batches) > DefaultBatchRecords {
		t.Fatalf("batches of %v", s.batches)
	}
	put(t, j, many, many+1)
	stop(t, j)
	s.has(t, many+1)
}

func TestBatchesAreTimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink()
		j := start(t, t.TempDir(), s, Options{})
		synctest.Wait() // the first look, at what an earlier process left, is at once
		begin := time.Now()
		put(t, j, 0, 3)
		synctest.Wait()
		s.has(t, 0)
		<-s.called
		if d := time.Since(begin); d != DefaultBatchEvery {
			t.Fatalf("delivered after %v", d)
		}
		synctest.Wait()
		s.has(t, 3)
		begin = time.Now()
		put(t, j, 3, 3+DefaultBatchRecords)
		<-s.called
		if d := time.Since(begin); d == 0 || d > 20*time.Millisecond {
			t.Fatalf("a full batch was delivered after %v, which are not its breaks", d)
		}
		stop(t, j)
	})
}

// patience notes how long a break is in each batch that it passes on.
type patience struct {
	Sink
	breaks chan time.Duration
}

func (p *patience) AddUsage(ctx context.Context, records []store.Usage) error {
	begin := time.Now()
	pace.Break(ctx)
	p.breaks <- time.Since(begin)
	return p.Sink.AddUsage(ctx, records)
}

// TestBatchesTakeBreaks unless too many wait, or the end is waited for.
func TestBatchesTakeBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink()
		p := &patience{s, make(chan time.Duration, 100)}
		j := start(t, t.TempDir(), p, Options{BatchRecords: 10})
		synctest.Wait() // the first look, at what an earlier process left, is at once
		put(t, j, 0, 10)
		if d := <-p.breaks; d == 0 {
			t.Error("a batch took no break")
		}
		synctest.Wait()
		s.has(t, 10)

		s.mu.Lock() // the sink is slow
		put(t, j, 10, 20)
		if d := <-p.breaks; d == 0 {
			t.Error("a batch behind another took no break")
		}
		put(t, j, 20, 20+10*batchesInTime+10)
		s.mu.Unlock()
		if d := <-p.breaks; d != 0 {
			t.Errorf("a batch of a journal that grows took a break of %s", d)
		}
		for n := 3; n < 3+batchesInTime; n++ {
			if d := <-p.breaks; d == 0 {
				t.Errorf("batch %d, behind which few wait, took no break", n)
			}
		}
		synctest.Wait()
		s.has(t, 30+10*batchesInTime)

		put(t, j, 1000, 1005)
		stop(t, j)
		if d := <-p.breaks; d != 0 {
			t.Errorf("the end waited for a break of %s", d)
		}
	})
}

func TestSinkOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink()
		s.away = errAway
		j := start(t, t.TempDir(), s, Options{})
		put(t, j, 0, 10)
		for range 12 {
			<-s.called
		}
		put(t, j, 10, 20)
		s.mu.Lock()
		var gaps []time.Duration
		for i := 1; i < len(s.attempts); i++ {
			gaps = append(gaps, s.attempts[i].Sub(s.attempts[i-1]))
		}
		s.mu.Unlock()
		if gaps[0] != firstBackoff || gaps[1] != 2*firstBackoff || gaps[len(gaps)-1] != longestBackoff {
			t.Fatalf("pauses between attempts: %v", gaps)
		}
		if j.Pending() != 20 {
			t.Fatalf("%d pending", j.Pending())
		}
		s.setAway(nil)
		flush(t, j) // does not wait for the pause to end
		s.has(t, 20)
		stop(t, j)
	})
}

func TestFlushEndsWithItsContext(t *testing.T) {
	s := newSink()
	s.away = errAway
	j := start(t, t.TempDir(), s, Options{})
	flush(t, j) // nothing to wait for
	put(t, j, 0, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-s.called
		cancel()
	}()
	if err := j.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestStopWhileTheSinkIsAway(t *testing.T) {
	dir, s := t.TempDir(), newSink()
	s.away = errAway
	j := start(t, dir, s, Options{})
	put(t, j, 0, 5)
	if err := j.Stop(t.Context()); !errors.Is(err, errAway) {
		t.Fatalf("Stop says %v", err)
	}
	if err := j.Stop(t.Context()); err != nil {
		t.Fatalf("second Stop says %v", err)
	}
	j = start(t, dir, s, Options{})
	if j.Pending() != 5 {
		t.Fatalf("%d pending after restart", j.Pending())
	}
	s.setAway(nil)
	flush(t, j)
	s.has(t, 5)
	stop(t, j)
	if left := files(t, dir); len(left) != 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestStopWhileTheSinkHangs(t *testing.T) {
	s := newSink()
	s.block = true
	j := start(t, t.TempDir(), s, Options{BatchEvery: time.Microsecond})
	put(t, j, 0, 1)
	<-s.called
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Stop says %v", err)
	}
}

func TestLifecycleEdges(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(filepath.Join(dir, "usage"), newSink(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "usage")); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("Open did something")
	}
	if err := j.Record(record(0)); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("Record before Start: %v", err)
	}
	if err := j.Flush(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("Flush before Start: %v", err)
	}
	if err := j.Stop(t.Context()); err != nil {
		t.Fatalf("Stop before Start: %v", err)
	}
	if err := j.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := j.Start(t.Context()); err == nil {
		t.Fatal("started twice")
	}
	other, _ := Open(filepath.Join(dir, "usage"), newSink(), Options{})
	if err := other.Start(t.Context()); err == nil {
		t.Fatal("two journals in one directory")
	}
	for _, bad := range []store.Usage{{}, {ID: string(make([]byte, maxText+1))}} {
		if err := j.Record(bad); err == nil {
			t.Fatal("a record without a usable id was taken")
		}
	}
	stop(t, j)
	if err := j.Record(record(0)); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("Record after Stop: %v", err)
	}
	if err := other.Start(t.Context()); err != nil {
		t.Fatalf("the directory is free, but: %v", err)
	}
	stop(t, other)
}

func TestOpenRefusesNonsense(t *testing.T) {
	if _, err := Open("", newSink(), Options{}); err == nil {
		t.Error("no directory")
	}
	if _, err := Open("x", nil, Options{}); err == nil {
		t.Error("no sink")
	}
	if _, err := Open("x", newSink(), Options{MaxBytes: -1}); err == nil {
		t.Error("negative size")
	}
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "usage")
	j := start(t, dir, newSink(), Options{})
	put(t, j, 0, 1)
	for path, want := range map[string]os.FileMode{dir: 0o700, files(t, dir)[0]: 0o600, filepath.Join(dir, "lock"): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", filepath.Base(path), info.Mode(), err)
		}
	}
}

func TestRotationForgetsWhatIsDelivered(t *testing.T) {
	dir, s := t.TempDir(), newSink()
	s.away = errAway
	j := start(t, dir, s, Options{SegmentBytes: 4096})
	put(t, j, 0, 1000)
	if n := len(files(t, dir)); n < 20 {
		t.Fatalf("%d segments", n)
	}
	before := j.Bytes()
	s.setAway(nil)
	flush(t, j)
	s.has(t, 1000)
	if n := len(files(t, dir)); n != 1 || j.Bytes() > 2*4096 {
		t.Fatalf("%d segments, %d of %d bytes after delivery", n, j.Bytes(), before)
	}
}

func TestFullJournalRefusesUntilTheSinkIsBack(t *testing.T) {
	bothWays(t, func(t *testing.T, written bool) {
		dir, s := t.TempDir(), newSink()
		s.away = errAway
		j := startBy(t, dir, s, Options{MaxBytes: 64 << 10}, written)
		n := 0
		var full *FullError
		for ; ; n++ {
			err := j.Record(record(n))
			if errors.As(err, &full) {
				break
			}
			if err != nil || n > 10_000 {
				t.Fatal(n, err)
			}
		}
		var onDisk int64
		for _, name := range files(t, dir) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			onDisk += int64(len(bytes.TrimRight(text, "\x00")))
		}
		if onDisk > 64<<10 || full.MaxBytes != 64<<10 || full.Bytes != onDisk {
			t.Fatalf("%d bytes on disk, error %v", onDisk, full)
		}
		s.setAway(nil)
		flush(t, j)
		put(t, j, n, n+100)
		flush(t, j)
		s.has(t, n+100)
	})
}

func TestWhatAFailedWriteLeftIsOverwritten(t *testing.T) {
	dir, s := t.TempDir(), newSink()
	s.away = errAway
	j := startBy(t, dir, s, Options{}, true)
	put(t, j, 0, 2)
	current := j.segments[0]
	readOnly, err := os.Open(current.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	working := current.file
	torn := encode(record(99))
	if _, err := working.WriteAt(torn[:len(torn)-1], current.size.Load()); err != nil {
		t.Fatal(err)
	}
	j.mu.Lock()
	current.file = readOnly
	j.mu.Unlock()
	if err := j.Record(record(2)); err == nil {
		t.Fatal("a record that was not written is acknowledged")
	}
	j.mu.Lock()
	current.file = working
	j.mu.Unlock()
	readOnly.Close()
	put(t, j, 2, 3)
	s.setAway(nil)
	flush(t, j)
	s.has(t, 3)
	if j.Damaged() != 0 {
		t.Fatalf("%d damaged pieces", j.Damaged())
	}
}

func TestConcurrentRecords(t *testing.T) {
	bothWays(t, func(t *testing.T, written bool) {
		dir, s := t.TempDir(), newSink()
		j := startBy(t, dir, s,
			Options{SegmentBytes: 16 << 10, BatchEvery: time.Millisecond, SyncEvery: time.Millisecond}, written)
		const writers, each = 8, 500
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					if err := j.Record(record(w*each + i)); err != nil {
						t.Error(err)
					}
					if i%100 == 0 {
						if err := j.Flush(t.Context()); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		stop(t, j)
		if len(s.records) != writers*each || j.Pending() != 0 || j.Damaged() != 0 {
			t.Fatalf("%d records, %d pending, %d damaged", len(s.records), j.Pending(), j.Damaged())
		}
	})
}

// TestNoNewFile has a directory in the place of the next segment: the one that there is takes records for a while, and what is refused
// then is taken again as soon as there can be another.
func TestNoNewFile(t *testing.T) {
	bothWays(t, func(t *testing.T, written bool) {
		dir, s := t.TempDir(), newSink()
		const size = 16 << 10
		j := startBy(t, dir, s, Options{SegmentBytes: size}, written)
		inTheWay := filepath.Join(dir, segmentName(2))
		if err := os.Mkdir(inTheWay, 0o700); err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; j.Record(record(n)) == nil; n++ {
		}
		if got := j.Bytes(); got < mostOverdue*size || got > mostOverdue*size+1024 {
			t.Errorf("%d bytes are taken", got)
		}
		if err := j.Record(record(n)); !errors.Is(err, os.ErrExist) {
			t.Errorf("beyond the bound: %v", err)
		}
		if err := os.Remove(inTheWay); err != nil {
			t.Fatal(err)
		}
		put(t, j, n, n+100)
		flush(t, j)
		s.has(t, n+100)
		if left := files(t, dir); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
	})
}
