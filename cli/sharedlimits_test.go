package cli

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"apibuilder/ratelimit"
	"apibuilder/store"
	"apibuilder/store/sqlite"
	"apibuilder/usage"
)

// TestQuotasCountWhatAnotherServerAnswered has a server that drains, or left records when it was killed, tell the store of them late.
func TestQuotasCountWhatAnotherServerAnswered(t *testing.T) {
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	journal, err := usage.Open(t.TempDir(), st, usage.Options{})
	if err == nil {
		err = journal.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &server{store: st, database: st, journal: journal, alone: make(chan struct{})}
	s.onStop("journal", journal.Stop)
	defer func() {
		for _, part := range s.stops {
			_ = part.run(context.Background())
		}
	}()
	if err := s.openLimits(t.Context()); err != nil {
		t.Fatal(err)
	}
	q, now := ratelimit.Quota{Policy: "api", Key: "api_1", Requests: 3}, time.Now()
	if err := s.quotas.Take(t.Context(), now, q); err != nil {
		t.Fatal(err)
	}
	late := []store.Usage{{ID: "1", APIID: "api_1", Time: now}, {ID: "2", APIID: "api_1", Time: now}, {ID: "3", APIID: "api_1", Time: now}}
	if err := st.AddUsage(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	close(s.alone)
	for deadline := time.Now().Add(10 * time.Second); s.quotas.Take(t.Context(), now, q) == nil; s.quotas.Return(now, q) {
		if time.Now().After(deadline) {
			t.Fatal("what the other server answered is not counted")
		}
		time.Sleep(time.Millisecond)
	}
}
