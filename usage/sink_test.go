package usage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"apibuilder/store"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("USAGE_TEST_CHILD"); dir != "" {
		child(dir)
	}
	goleak.VerifyTestMain(m)
}

// sink is a store that tests can take away.
type sink struct {
	mu       sync.Mutex
	away     error
	block    bool // until the context ends
	known    map[string]bool
	records  []store.Usage
	batches  []int
	attempts []time.Time
	called   chan struct{}
}

func newSink() *sink { return &sink{known: map[string]bool{}, called: make(chan struct{}, 1000)} }

func (s *sink) AddUsage(ctx context.Context, records []store.Usage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts = append(s.attempts, time.Now())
	select {
	case s.called <- struct{}{}:
	default:
	}
	if s.block {
		<-ctx.Done()
		return ctx.Err()
	}
	if s.away != nil {
		return s.away
	}
	s.batches = append(s.batches, len(records))
	for _, u := range records {
		if !s.known[u.ID] {
			s.known[u.ID] = true
			s.records = append(s.records, u)
		}
	}
	return nil
}

func (s *sink) setAway(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = err
}

// has checks that the sink has n records, those of record(0) and on, in order.
func (s *sink) has(t *testing.T, n int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.records) != n {
		t.Fatalf("the sink has %d records, want %d", len(s.records), n)
	}
	for i, u := range s.records {
		if u != record(i) {
			t.Fatalf("record %d is %+v", i, u)
		}
	}
}

func record(n int) store.Usage {
	u := sample()
	u.ID = fmt.Sprintf("req_%08d", n)
	return u
}

func start(t *testing.T, dir string, s Sink, opts Options) *Journal {
	t.Helper()
	return startBy(t, dir, s, opts, false)
}

// startBy starts a journal whose files are mapped, or written.
func startBy(t *testing.T, dir string, s Sink, opts Options, written bool) *Journal {
	t.Helper()
	j, err := Open(dir, s, opts)
	if err != nil {
		t.Fatal(err)
	}
	j.written = written
	if err := j.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Stop(context.Background()) })
	return j
}

func put(t *testing.T, j *Journal, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := j.Record(record(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func stop(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func flush(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if j.Pending() != 0 {
		t.Fatalf("%d records pending after Flush", j.Pending())
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "usage-*.log"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

var errAway = errors.New("database is away")
