package postgres

import (
	"context"
	"testing"
	"time"

	"apibuilder/internal/pgtest"
	"apibuilder/store"
	"apibuilder/store/storetest"
)

// patience is far more than anything here takes, even where everybody else is busy too.
const patience = 30 * time.Second

// told waits for a change and fails the test when it does not come.
func told(t *testing.T, changes <-chan store.Change, want store.Change) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case c := <-changes:
			if c == want {
				return
			}
		case <-timer.C:
			t.Fatalf("nobody was told of %+v", want)
		}
	}
}

func subscribe(t *testing.T, s *Store) <-chan store.Change {
	t.Helper()
	changes := make(chan store.Change, 1000)
	t.Cleanup(s.Subscribe(func(c store.Change) { changes <- c }))
	return changes
}

func makeAPI(t *testing.T, s *Store, name string) store.API {
	t.Helper()
	a, err := s.CreateAPI(t.Context(), store.API{ID: store.NewID("api"), Name: name, UserID: store.OperatorID})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// heard waits until notifications arrive.
func heard(t *testing.T, s *Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !s.feed.listening.Load() {
		select {
		case <-ctx.Done():
			t.Fatal("notifications do not arrive")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// openNode opens a node that sweeps as often as it is told to.
func openNode(t *testing.T, url string, sweep, poll time.Duration) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{URL: url, SweepEvery: sweep, PollEvery: poll})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestNotificationsTellWhatOthersChange(t *testing.T) {
	url := pgtest.Database(t)
	s, other := openNode(t, url, time.Hour, time.Hour), openNode(t, url, time.Hour, time.Hour)
	heard(t, s)
	changes := subscribe(t, s)
	a := makeAPI(t, other, "resize")
	told(t, changes, store.Change{APIID: a.ID})
	pgtest.Exec(t, url, "UPDATE apibuilder_apis SET public = true") // somebody else's program
	told(t, changes, store.Change{APIID: a.ID})
	pgtest.Exec(t, url, "UPDATE apibuilder_plans SET rate_requests = 1")
	told(t, changes, store.Change{})
	pgtest.Exec(t, url, "INSERT INTO apibuilder_keys (id, api_id, name, prefix, hash, rate_requests, rate_per_ns, created_at) "+
		"VALUES ('k', (SELECT id FROM apibuilder_apis), '', '', '', 0, 0, 0)")
	told(t, changes, store.Change{APIID: a.ID})
	pgtest.Exec(t, url, "DELETE FROM apibuilder_apis")
	told(t, changes, store.Change{APIID: a.ID})
}

// TestSweepTellsWhatNoNotificationTold lets a transaction begin before a sweep and end after it.
func TestSweepTellsWhatNoNotificationTold(t *testing.T) {
	url := pgtest.Database(t)
	s, other := openNode(t, url, time.Hour, time.Hour), openNode(t, url, time.Hour, time.Hour)
	s.feed.stop() // deaf from here on
	changes := subscribe(t, s)
	a, b := makeAPI(t, other, "a"), makeAPI(t, other, "b")
	drain := func() {
		for len(changes) > 0 {
			<-changes
		}
	}
	sweep := func() {
		t.Helper()
		if err := s.feed.once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	told(t, changes, store.Change{APIID: a.ID})
	told(t, changes, store.Change{APIID: b.ID})

	tx, err := other.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "UPDATE apibuilder_apis SET public = true WHERE id = $1", a.ID); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, "UPDATE apibuilder_apis SET public = true WHERE name = 'b'")
	sweep()
	told(t, changes, store.Change{APIID: b.ID})
	drain()
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	sweep()
	told(t, changes, store.Change{APIID: a.ID})
	sweep()
	sweep()
	if len(changes) > 0 {
		t.Errorf("told again of %+v", <-changes)
	}
	if _, err := s.CreateAPI(t.Context(), store.API{ID: "own", Name: "own", UserID: store.OperatorID}); err != nil {
		t.Fatal(err)
	}
	drain()
	sweep()
	if len(changes) > 0 {
		t.Errorf("told of its own change: %+v", <-changes)
	}
}

// TestASweepAfterAnHourTellsOfEverything has a node wake up that was suspended with its machine: its monotonic clock stood still, and the changes that
// it missed were purged by another one.
func TestASweepAfterAnHourTellsOfEverything(t *testing.T) {
	url := pgtest.Database(t)
	s, other := openNode(t, url, time.Hour, time.Hour), openNode(t, url, time.Hour, time.Hour)
	a := makeAPI(t, other, "resize")
	s.feed.stop()
	if err := s.feed.once(t.Context()); err != nil {
		t.Fatal(err)
	}
	changes := subscribe(t, s)
	pgtest.Exec(t, url, "UPDATE apibuilder_apis SET public = true; DELETE FROM apibuilder_changes")
	if err := s.feed.once(t.Context()); err != nil || len(changes) > 0 {
		t.Fatalf("%d changes within the hour, %v", len(changes), err)
	}
	s.feed.clock = ask[string](t, url, "SELECT (now() - interval '2 hours')::text")
	if err := s.feed.once(t.Context()); err != nil {
		t.Fatal(err)
	}
	told(t, changes, store.Change{})
	told(t, changes, store.Change{APIID: a.ID})
}

// TestRestartOfTheDatabase cuts all connections. What was changed while nobody listened is told afterwards.
func TestRestartOfTheDatabase(t *testing.T) {
	cluster := pgtest.New(t)
	url := cluster.Database(t)
	s := openNode(t, url, time.Hour, time.Hour)
	heard(t, s)
	a := makeAPI(t, s, "resize")
	changes := subscribe(t, s)
	for _, end := range []func(){cluster.Stop, cluster.Kill} {
		end()
		if _, err := s.APIs(t.Context()); err == nil {
			t.Fatal("a stopped database answers")
		} else if !isErr(err, store.ErrUnavailable) {
			t.Fatalf("error is %v", err)
		}
		for len(changes) > 0 { // of what was before the end
			<-changes
		}
		if err := s.PutPlan(t.Context(), store.Plan{Name: "gold"}); !isErr(err, store.ErrUnavailable) {
			t.Fatalf("error is %v", err)
		}
		if err := s.AddUsage(t.Context(), []store.Usage{{ID: "x"}}); !isErr(err, store.ErrUnavailable) {
			t.Fatalf("error is %v", err)
		}
		if len(changes) > 0 {
			t.Fatalf("told of %+v while nothing is known", <-changes)
		}
		if err := cluster.Start(); err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, url, "UPDATE apibuilder_apis SET public = NOT public")
		told(t, changes, store.Change{APIID: a.ID})
		if _, err := s.APIs(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestThroughAPooler runs in transaction mode, where LISTEN is taken and forgotten.
func TestThroughAPooler(t *testing.T) {
	direct := pgtest.Database(t)
	s := openNode(t, pgtest.Pooled(t, direct), time.Hour, 50*time.Millisecond)
	changes := subscribe(t, s)
	a := makeAPI(t, s, "resize")
	told(t, changes, store.Change{APIID: a.ID})
	for range 20 { // each at another connection of the pooler's
		pgtest.Exec(t, direct, "UPDATE apibuilder_apis SET public = NOT public")
		told(t, changes, store.Change{APIID: a.ID})
	}
	if s.feed.listening.Load() {
		t.Error("notifications arrive through a pooler in transaction mode")
	}
}

func TestConformanceThroughAPooler(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return openNode(t, pgtest.Pooled(t, pgtest.Database(t)), time.Hour, time.Hour)
	})
}

// TestAKeyOfAUserIsToldOfAsItsAPIs has the trigger tell another node, and is revoked by plain SQL.
func TestAKeyOfAUserIsToldOfAsItsAPIs(t *testing.T) {
	url := pgtest.Database(t)
	s, other := openNode(t, url, time.Hour, time.Hour), openNode(t, url, time.Hour, time.Hour)
	heard(t, s)
	first, second := makeAPI(t, other, "first"), makeAPI(t, other, "second")
	changes := subscribe(t, s)
	if _, err := other.CreateKey(t.Context(), store.Key{ID: "key_1", UserID: store.OperatorID}); err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{"", "UPDATE apibuilder_keys SET revoked_at = 1", "DELETE FROM apibuilder_keys"} {
		if end != "" {
			pgtest.Exec(t, url, end)
		}
		told(t, changes, store.Change{APIID: first.ID})
		told(t, changes, store.Change{APIID: second.ID})
	}
}
