package sqlite

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"apibuilder/store"
	"apibuilder/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openAt(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openAt(t, filepath.Join(t.TempDir(), "apibuilder.db")) })
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apibuilder.db")
	storetest.RunReopen(t, func(t *testing.T) store.Store { return openAt(t, path) })
}

func TestABackupOfAnOlderSchemaHasItsSums(t *testing.T) {
	storetest.RunOldDump(t, func(t *testing.T) store.Store { return openAt(t, filepath.Join(t.TempDir(), "apibuilder.db")) })
}

func TestStrangePaths(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a b.db", "what?mode=memory", "100%25.db", "a#b", "ü;&_pragma=x.db", ":memory:", "file:x?y=z"} {
		path := filepath.Join(dir, name)
		s := openAt(t, path)
		if _, err := s.CreateAPI(t.Context(), store.API{ID: "api_1", Name: "a", UserID: store.OperatorID}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openAt(t, path)
		if _, err := s.API(t.Context(), "a"); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "memory") && e.Name() != "what?mode=memory" {
			t.Errorf("unexpected file %q", e.Name())
		}
	}
}

func TestRelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	openAt(t, "apibuilder.db")
	if _, err := os.Stat("apibuilder.db"); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "apibuilder.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s := openAt(t, path)
		if err := s.PutPlan(t.Context(), store.Plan{Name: "gold"}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{path, path + "-wal", path + "-shm"} {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", filepath.Base(name), info.Mode())
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Close left the WAL: %v", err)
	}
}

func TestPragmas(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "apibuilder.db"))
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000",
	} {
		var got string
		if err := s.writer.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", pragma, got, err, want)
		}
	}
	if _, err := s.reader.Exec("DELETE FROM plans"); err == nil {
		t.Error("a reading connection can write")
	}
}

// TestADiskThatTakesNothing has the database full, and then read-only, and then neither.
func TestADiskThatTakesNothing(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "apibuilder.db"))
	put := func(name string) error {
		return s.PutPlan(t.Context(), store.Plan{Name: name + strings.Repeat("x", 50_000)})
	}
	for pragma, undo := range map[string]string{"max_page_count = 1": "max_page_count = 1000000", "query_only = 1": "query_only = 0"} {
		for _, do := range []string{pragma, undo} {
			if _, err := s.writer.Exec("PRAGMA " + do); err != nil {
				t.Fatal(err)
			}
			if err := put(pragma); (do == pragma) != errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: %v", do, err)
			}
		}
	}
}

func TestUsageQueriesUseAnIndex(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "apibuilder.db"))
	for query, index := range map[string]string{
		`SELECT * FROM usage WHERE api_id = 'a' AND time >= 1 ORDER BY time DESC, id DESC LIMIT 9`:             "usage_by_api",
		`SELECT * FROM usage WHERE (time <= 5 AND (time < 5 OR id < 'x')) ORDER BY time DESC, id DESC LIMIT 9`: "usage_by_time",
		`SELECT count(*) FROM usage WHERE time >= 1`:                                                           "usage_by_time",
		`SELECT count(*) FROM usage WHERE api_id = 'a' AND time >= 1`:                                          "usage_by_api",
		`SELECT * FROM usage WHERE id = 'a'`:                                                                   "autoindex",
		`SELECT seq, last, data FROM usage_blocks WHERE last >= 1 AND first < 9 ORDER BY last DESC`:            "usage_blocks_by_last",
		`SELECT seq, data FROM usage_blocks WHERE first < 9 ORDER BY first LIMIT 1`:                            "usage_blocks_by_first",
		`SELECT b.seq, n.last, b.data FROM usage_block_names n CROSS JOIN usage_blocks b ON b.seq = n.block
			WHERE n.name = 'a' AND n.last >= 1 AND b.first < 9 ORDER BY n.last DESC`: "PRIMARY KEY (name=? AND last>?)",
		`SELECT * FROM keys WHERE hash = x'00'`:                                "autoindex",
		`SELECT * FROM exits WHERE api_id = 'a' ORDER BY seq + 0 DESC LIMIT 9`: "exits_by_api",
	} {
		plan := planOf(t, s, query)
		plan = strings.ReplaceAll(plan, "TEMP B-TREE FOR LAST TERM", "") // among those of one microsecond
		if index == "exits_by_api" {                                     // of which there are 50
			plan = strings.ReplaceAll(plan, "TEMP B-TREE", "")
		}
		if !strings.Contains(plan, index) || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s:\n%s", query, plan)
		}
	}
}

func TestQuotasUseAnIndex(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "apibuilder.db"))
	for index, f := range map[string]store.SumFilter{
		"usage_days_by_key (key_id=? AND start>?)":   {KeyID: "k"},
		"usage_days_by_user (user_id=? AND start>?)": {UserID: "u"},
		"usage_days_by_api (api_id=? AND start>?)":   {APIID: "a"},
		"usage_hours_by_key (key_id=? AND start>?":   {KeyID: "k"}, // and before the first whole day
		"usage_hours_by_user (user_id=? AND start>?": {UserID: "u", By: store.ByHour},
		"usage_hours_by_api (api_id=? AND start>?":   {APIID: "a", By: store.ByHour},
	} {
		f.Since = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
		query, args, err := sumQuery(f)
		if err != nil {
			t.Fatal(err)
		}
		if plan := planOf(t, s, query, args...); !strings.Contains(plan, index) || strings.Contains(plan, "PRIMARY KEY") {
			t.Errorf("%s:\n%s", query, plan)
		}
	}
}

// planOf is how SQLite would answer.
func planOf(t *testing.T, s *Store, query string, args ...any) (plan string) {
	t.Helper()
	rows, err := s.reader.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var a, b, c int
		var detail string
		if err := rows.Scan(&a, &b, &c, &detail); err != nil {
			t.Fatal(err)
		}
		plan += detail + "\n"
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestCloseWaitsForCalls(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "apibuilder.db"))
	inside, leave := make(chan struct{}), make(chan struct{})
	s.Subscribe(func(store.Change) { close(inside); <-leave })
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.PutPlan(t.Context(), store.Plan{Name: "gold"}); err != nil {
			t.Error(err)
		}
	})
	<-inside
	if s.gate.TryLock() {
		t.Fatal("Close would not wait for a call under way")
	}
	wg.Go(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	close(leave)
	wg.Wait()
	_, err := s.Plans(t.Context())
	if !errors.Is(err, os.ErrClosed) || !errors.Is(s.PutPlan(t.Context(), store.Plan{Name: "x"}), os.ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
}

// TestWaitingForALockEndsWithTheContext holds the write lock from outside, as a backup or a second program would.
func TestWaitingForALockEndsWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apibuilder.db")
	s, other := openAt(t, path), openAt(t, path)
	tx, err := other.writer.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	blocked := make(chan error, 1)
	go func() { blocked <- s.PutPlan(ctx, store.Plan{Name: "gold"}) }()
	if _, err := s.Plans(t.Context()); err != nil {
		t.Fatalf("reading waits for a writer: %v", err)
	}
	cancel()
	if err := <-blocked; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := s.PutPlan(t.Context(), store.Plan{Name: "gold"}); err != nil {
		t.Fatalf("after the lock was free: %v", err)
	}
}

// TestABatchEndsWithItsContext ends the context between two statements of one transaction.
func TestABatchEndsWithItsContext(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "apibuilder.db"))
	if err := s.statements.prepare(t.Context(), s.writer, usageStatements); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := s.write(ctx, func(u *unit) error {
		if n, err := u.run(ctx, useStatement, "key_1", 1); n != 1 || err != nil {
			t.Errorf("%d rows, %v", n, err)
		}
		cancel()
		_, err := u.run(ctx, useStatement, "key_2", 1)
		return err
	})
	var uses int
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if err := s.reader.QueryRow("SELECT count(*) FROM key_uses").Scan(&uses); err != nil || uses != 0 {
		t.Errorf("%d uses were stored, %v", uses, err)
	}
}

func BenchmarkKeyByHash(b *testing.B) {
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "apibuilder.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		if _, err := s.KeyByHash(b.Context(), [32]byte{}); !errors.Is(err, store.ErrNotFound) {
			b.Fatal(err)
		}
	}
}
