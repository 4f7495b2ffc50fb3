package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"apibuilder/store"
	"apibuilder/store/schema"
	"apibuilder/store/storetest"
)

func rawDB(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func version(t *testing.T, db *sql.DB) (v int) {
	t.Helper()
	if err := db.QueryRow("SELECT max(version) FROM schema_migrations").Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestMigrationsRunInOrderAndOnce(t *testing.T) {
	db := rawDB(t, filepath.Join(t.TempDir(), "x.db"))
	all := []schema.Migration{{Version: 1, Name: "a", SQL: "CREATE TABLE t (n INTEGER)"}, {Version: 2, Name: "b", SQL: "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);"}}
	for _, list := range [][]schema.Migration{all[:1], all, all} {
		if err := migrate(t.Context(), db, list); err != nil {
			t.Fatal(err)
		}
	}
	var rows int
	if err := db.QueryRow("SELECT count(*) FROM t").Scan(&rows); err != nil || rows != 2 || version(t, db) != 2 {
		t.Fatalf("%d rows, version %d, %v", rows, version(t, db), err)
	}
}

// TestPlansOfTheFirstSchemaKeepTheirRate upgrades a database that knows no limits of plans.
func TestPlansOfTheFirstSchemaKeepTheirRate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := rawDB(t, path)
	if err := migrate(t.Context(), db, schema.Migrations(files)[:1]); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO plans (name, rate_requests, rate_per_ns) VALUES ('old', 2, 3)"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	p, err := openAt(t, path).Plan(t.Context(), "old")
	if want := (store.Plan{Name: "old", Rate: store.Rate{Requests: 2, Per: 3}}); err != nil || p != want {
		t.Fatalf("%+v, %v", p, err)
	}
}

// TestKeysAndUsageAreUpgraded has a database from before keys of users and sums.
func TestKeysAndUsageAreUpgraded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := rawDB(t, path)
	if err := migrate(t.Context(), db, schema.Migrations(files)[:4]); err != nil {
		t.Fatal(err)
	}
	hash := store.HashSecret("old")
	if _, err := db.Exec(strings.ReplaceAll(storetest.OldRows("", "1", "0"), "HASH", fmt.Sprintf("x'%x'", hash))); err != nil {
		t.Fatal(err)
	}
	open := func(t *testing.T) store.Store { return openAt(t, filepath.Join(t.TempDir(), "y.db")) }
	old, err := OpenToRead(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	storetest.Upgraded(t, storetest.Copied(t, old, open), open)
	if err := old.Close(); err != nil || version(t, db) != 4 {
		t.Errorf("a backup left version %d, %v", version(t, db), err)
	}
	db.Close()
	storetest.Upgraded(t, openAt(t, path), open)
}

func TestNothingToRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if _, err := OpenToRead(t.Context(), path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	db := rawDB(t, path)
	if _, err := db.Exec("CREATE TABLE apis (id INTEGER)"); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenToRead(t.Context(), path); !errors.Is(err, store.ErrEmpty) {
		t.Errorf("another program's: %v", err)
	}
	if _, err := db.Exec("CREATE TABLE schema_migrations (version INTEGER); INSERT INTO schema_migrations VALUES (99)"); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenToRead(t.Context(), path); !errors.Is(err, schema.ErrNewer) {
		t.Errorf("a newer one: %v", err)
	}
}

func TestFailedMigrationLeavesNothing(t *testing.T) {
	db := rawDB(t, filepath.Join(t.TempDir(), "x.db"))
	broken := []schema.Migration{{Version: 1, Name: "a", SQL: "CREATE TABLE t (n INTEGER)"}, {Version: 2, Name: "b", SQL: "CREATE TABLE u (n INTEGER); CREATE TABLE t (n INTEGER)"}}
	err := migrate(t.Context(), db, broken)
	if err == nil || !strings.Contains(err.Error(), "migration b") {
		t.Fatalf("error is %v", err)
	}
	if version(t, db) != 1 {
		t.Fatalf("version is %d", version(t, db))
	}
	if _, err := db.Exec("SELECT * FROM u"); err == nil {
		t.Fatal("half a migration was kept")
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	openAt(t, path).Close()
	db := rawDB(t, path)
	if _, err := db.Exec("INSERT INTO schema_migrations VALUES (99, 'future', 0)"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	_, err := Open(t.Context(), path)
	if !errors.Is(err, schema.ErrNewer) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "99") {
		t.Fatalf("error is %v", err)
	}
}

func TestForeignDatabaseIsRefusedAndLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := rawDB(t, path)
	if _, err := db.Exec("CREATE TABLE apis (id INTEGER)"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	_, err := Open(t.Context(), path)
	if !errors.Is(err, ErrForeign) {
		t.Fatalf("error is %v", err)
	}
	var tables int
	if err := rawDB(t, path).QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil || tables != 1 {
		t.Fatalf("%d tables, %v", tables, err)
	}
}

func TestFileThatIsNoDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	text := strings.Repeat("this is not a database\n", 1000)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "not a SQLite database; move it away") {
		t.Fatalf("error is %v", err)
	}
	if got, _ := os.ReadFile(path); string(got) != text {
		t.Fatal("the file was changed")
	}
}

func TestMissingDirectory(t *testing.T) {
	_, err := Open(t.Context(), filepath.Join(t.TempDir(), "no", "x.db"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("error is %v", err)
	}
}

func TestOpenHonoursItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, filepath.Join(t.TempDir(), "x.db")); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
}

func TestConcurrentOpensMigrateOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := Open(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s.User(t.Context(), store.OperatorID); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestTableOfTheOldPlatform keeps the columns that other programs read.
func TestTableOfTheOldPlatform(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "x.db"))
	if _, err := s.reader.Exec("SELECT id, name, code_snapshot, requirements FROM apis"); err != nil {
		t.Fatal(err)
	}
}

// TestLibraryErrorsAreReadByTheirCode covers a constraint that Go code never lets through.
func TestLibraryErrorsAreReadByTheirCode(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "x.db"))
	_, err := s.writer.Exec("INSERT INTO users VALUES ('u', 'u', 'no plan', 0)")
	if !errors.Is(neutral(err), store.ErrNotFound) {
		t.Errorf("foreign key: %v", err)
	}
	_, err = s.writer.Exec("INSERT INTO users VALUES ('operator', 'u', 'default', 0)")
	if !errors.Is(neutral(err), store.ErrConflict) {
		t.Errorf("primary key: %v", err)
	}
	_, err = s.writer.Exec("INSERT INTO users VALUES ('u', 'u', 'default', NULL)")
	if n := neutral(err); errors.Is(n, store.ErrConflict) || errors.Is(n, store.ErrNotFound) || n != err {
		t.Errorf("not null: %v", n)
	}
}

// TestVersionsOfTheSecondSchemaHaveNoLock upgrades a database that knows none.
func TestVersionsOfTheSecondSchemaHaveNoLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := rawDB(t, path)
	if err := migrate(t.Context(), db, schema.Migrations(files)[:2]); err != nil {
		t.Fatal(err)
	}
	for _, insert := range []string{
		"INSERT INTO apis VALUES ('api_1', 'a', 'operator', 0, 0, '', '', 1, 0, 0, 0, 0)",
		"INSERT INTO versions VALUES ('api_1', 1, 'code', 'six', '', '{}', 0, 0, 0, 'ready', 'key', '', '', 0)",
	} {
		if _, err := db.Exec(insert); err != nil {
			t.Fatal(err)
		}
	}
	db.Close()
	v, err := openAt(t, path).Version(t.Context(), "api_1", 1)
	if err != nil || v.Lock != "" || v.Environment != "key" || v.State != store.VersionReady {
		t.Fatalf("%+v, %v", v, err)
	}
}
