package postgres

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"apibuilder/internal/pgtest"
	"apibuilder/store"
	"apibuilder/store/schema"
	"apibuilder/store/storetest"
)

func isErr(err, target error) bool { return errors.Is(err, target) }

func rawPool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	cfg, err := config(url)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func ask[T any](t *testing.T, url, query string) (v T) {
	t.Helper()
	if err := rawPool(t, url).QueryRow(t.Context(), query).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

const versionQuery = "SELECT max(version) FROM apibuilder_schema_migrations"

func TestNodesThatStartAtOnceMigrateOnce(t *testing.T) {
	url := pgtest.Database(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := Open(t.Context(), Options{URL: url})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if _, err := s.User(t.Context(), store.OperatorID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := ask[int](t, url, "SELECT count(*) FROM apibuilder_schema_migrations"); n != len(schema.Migrations(files)) {
		t.Errorf("%d migrations are recorded", n)
	}
}

// TestKeysAndUsageAreUpgraded has a database from before keys of users and sums.
func TestKeysAndUsageAreUpgraded(t *testing.T) {
	url := pgtest.Database(t)
	if err := migrate(t.Context(), rawPool(t, url), schema.Migrations(files)[:4]); err != nil {
		t.Fatal(err)
	}
	hash := store.HashSecret("old")
	pgtest.Exec(t, url, strings.ReplaceAll(storetest.OldRows("apibuilder_", "true", "false"), "HASH", fmt.Sprintf(`'\x%x'`, hash)))
	open := func(t *testing.T) store.Store { return openAt(t, pgtest.Database(t)) }
	old, err := OpenToRead(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	storetest.Upgraded(t, storetest.Copied(t, old, open), open)
	if err := old.Close(); err != nil || ask[int](t, url, versionQuery) != 4 {
		t.Errorf("a backup left version %d, %v", ask[int](t, url, versionQuery), err)
	}
	storetest.Upgraded(t, openAt(t, url), open)
}

func TestNothingToRead(t *testing.T) {
	url := pgtest.Database(t)
	if _, err := OpenToRead(t.Context(), url); !errors.Is(err, store.ErrEmpty) {
		t.Errorf("an empty database: %v", err)
	}
	openAt(t, url)
	pgtest.Exec(t, url, "INSERT INTO apibuilder_schema_migrations VALUES (1000000, 'future', 0)")
	if _, err := OpenToRead(t.Context(), url); !errors.Is(err, schema.ErrNewer) {
		t.Errorf("a newer one: %v", err)
	}
	pgtest.Exec(t, url, `DELETE FROM apibuilder_schema_migrations WHERE version = 1000000;
		DO $$ BEGIN CREATE ROLE browser LOGIN; EXCEPTION WHEN duplicate_object THEN END $$; GRANT ALL ON ALL TABLES IN SCHEMA public TO browser`)
	_, err := OpenToRead(t.Context(), strings.ReplaceAll(url, "user=postgres", "user=browser"))
	if err == nil || !strings.Contains(err.Error(), "connect as the user that owns") {
		t.Errorf("whose rows are hidden: %v", err)
	}
}

func TestFailedMigrationLeavesNothing(t *testing.T) {
	url := pgtest.Database(t)
	broken := []schema.Migration{{Version: 1, Name: "a", SQL: "CREATE TABLE t (n INTEGER)"}, {Version: 2, Name: "b", SQL: "CREATE TABLE u (n INTEGER); CREATE TABLE t (n INTEGER)"}}
	err := migrate(t.Context(), rawPool(t, url), broken)
	if err == nil || !strings.Contains(err.Error(), "migration b") {
		t.Fatalf("error is %v", err)
	}
	if v := ask[int](t, url, versionQuery); v != 1 {
		t.Errorf("version is %d", v)
	}
	if ask[bool](t, url, "SELECT to_regclass('u') IS NOT NULL") {
		t.Error("half a migration was kept")
	}
}

// TestOlderNodeGoesOn migrates under a node that runs, to a schema that it does not know.
func TestOlderNodeGoesOn(t *testing.T) {
	url := pgtest.Database(t)
	old := openAt(t, url)
	a := makeAPI(t, old, "resize")
	newer := append(schema.Migrations(files), schema.Migration{Version: 1_000_000, Name: "next", SQL: `ALTER TABLE apibuilder_apis ADD COLUMN colour TEXT NOT NULL
		DEFAULT 'red'; ALTER TABLE apibuilder_versions ADD COLUMN colour TEXT; CREATE TABLE apibuilder_more (n INTEGER)`})
	s, err := open(t.Context(), Options{URL: url}, newer)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, node := range []*Store{old, s} {
		if _, err := node.AddVersion(t.Context(), store.Version{APIID: a.ID, Code: "x"}); err != nil {
			t.Error(err)
		}
		if got, err := node.API(t.Context(), a.ID); err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	makeAPI(t, old, "another")

	_, err = Open(t.Context(), Options{URL: url})
	if !errors.Is(err, schema.ErrNewer) || !strings.Contains(err.Error(), "run the newer program") {
		t.Fatalf("error is %v", err)
	}
}

// TestMigrationGivesWayToALongTransaction holds a table as a report that runs for hours would.
func TestMigrationGivesWayToALongTransaction(t *testing.T) {
	url := pgtest.Database(t)
	s := openAt(t, url)
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT * FROM apibuilder_plans"); err != nil {
		t.Fatal(err)
	}
	next := append(schema.Migrations(files), schema.Migration{Version: 1_000_000, Name: "next", SQL: "ALTER TABLE apibuilder_plans ADD COLUMN colour TEXT"})
	done := make(chan error, 1)
	pool := rawPool(t, url)
	go func() { done <- migrate(t.Context(), pool, next) }()
	// While the migration waits, others read: at the latest when it gave up for a moment.
	if _, err := s.Plans(t.Context()); err != nil {
		t.Error(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestBesideAnotherProgram shares a database whose tables have the names that ours would have elsewhere.
func TestBesideAnotherProgram(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, `CREATE TABLE users (id int); CREATE TABLE keys (id int); CREATE TABLE usage (id int);
		CREATE TABLE schema_migrations (version text); INSERT INTO schema_migrations VALUES ('20260101')`)
	makeAPI(t, openAt(t, url), "resize")
	if n := ask[int](t, url, "SELECT count(*) FROM schema_migrations"); n != 1 {
		t.Errorf("their table has %d rows", n)
	}
}

func TestOtherUsersSeeNothing(t *testing.T) {
	url := pgtest.Database(t)
	makeAPI(t, openAt(t, url), "resize")
	pgtest.Exec(t, url, `DO $$ BEGIN CREATE ROLE browser LOGIN; EXCEPTION WHEN duplicate_object THEN END $$; GRANT ALL ON ALL TABLES IN SCHEMA public TO browser`)
	browser := strings.ReplaceAll(url, "user=postgres", "user=browser")
	if n := ask[int](t, browser, "SELECT count(*) FROM apibuilder_apis"); n != 0 {
		t.Errorf("another user sees %d APIs", n)
	}
	_, err := Open(t.Context(), Options{URL: browser})
	if err == nil || !strings.Contains(err.Error(), "connect as the user that owns") {
		t.Errorf("error is %v", err)
	}
}

// TestABrowserWritesNowhere gives a role what hosted databases give the one of browsers, once for a new database and once for one that was
// made without row security on the table of migrations.
func TestABrowserWritesNowhere(t *testing.T) {
	for name, all := range map[string]int{"new": 0, "older": 17} {
		t.Run(name, func(t *testing.T) {
			url := pgtest.Database(t)
			pgtest.Exec(t, url, `DO $$ BEGIN CREATE ROLE browser LOGIN; EXCEPTION WHEN duplicate_object THEN END $$;
				ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO browser; GRANT USAGE ON SCHEMA public TO browser`)
			if all > 0 {
				older := slices.DeleteFunc(schema.Migrations(files), func(m schema.Migration) bool { return m.Version > all })
				if err := migrate(t.Context(), rawPool(t, url), older); err != nil {
					t.Fatal(err)
				}
				pgtest.Exec(t, url, "ALTER TABLE apibuilder_schema_migrations DISABLE ROW LEVEL SECURITY") // as it was made then
			}
			openAt(t, url)
			const unguarded = `SELECT coalesce(string_agg(relname, ' '), '') FROM pg_class WHERE relkind IN ('r', 'p') AND relname LIKE 'apibuilder%' AND NOT relrowsecurity`
			if tables := ask[string](t, url, unguarded); tables != "" {
				t.Errorf("without row security: %s", tables)
			}
			browser := rawPool(t, strings.ReplaceAll(url, "user=postgres", "user=browser"))
			if _, err := browser.Exec(t.Context(), "INSERT INTO apibuilder_schema_migrations VALUES (1000000, 'future', 0)"); codeOf(err) != insufficientRights {
				t.Errorf("a browser adds a migration: %v", err)
			}
			if tag, err := browser.Exec(t.Context(), "DELETE FROM apibuilder_schema_migrations"); err != nil || tag.RowsAffected() > 0 {
				t.Errorf("a browser deletes %d migrations, %v", tag.RowsAffected(), err)
			}
			openAt(t, url)
		})
	}
}

// TestTheTriggerRunsNothingOfOthers has somebody who owns a schema put tables with the names of ours there, so that what tells of changes writes into
// one that has a trigger of its own.
func TestTheTriggerRunsNothingOfOthers(t *testing.T) {
	const tables = `SET ROLE mallory; CREATE TABLE mallory.apibuilder_tokens (n int); CREATE TABLE mallory.apibuilder_changes (api_id text, node text);
		CREATE TABLE mallory.loot (who text, v text); GRANT ALL ON mallory.loot TO public;
		CREATE FUNCTION mallory.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO mallory.loot SELECT current_user, v FROM public.secret; RETURN NEW; END $$;
		CREATE TRIGGER t BEFORE INSERT ON mallory.apibuilder_changes FOR EACH ROW EXECUTE FUNCTION mallory.f()`
	const trigger = "SET ROLE mallory; CREATE TRIGGER c AFTER INSERT ON mallory.apibuilder_tokens FOR EACH ROW EXECUTE FUNCTION public.apibuilder_changed()"
	url := pgtest.Database(t)
	pgtest.Exec(t, url, `DO $$ BEGIN CREATE ROLE mallory NOLOGIN; EXCEPTION WHEN duplicate_object THEN END $$;
		CREATE SCHEMA mallory AUTHORIZATION mallory; CREATE TABLE secret (v text); INSERT INTO secret VALUES ('s3cret')`)
	older := slices.DeleteFunc(schema.Migrations(files), func(m schema.Migration) bool { return m.Version > 17 })
	if err := migrate(t.Context(), rawPool(t, url), older); err != nil {
		t.Fatal(err)
	}
	// As hosted databases do for their roles.
	pgtest.Exec(t, url, "GRANT EXECUTE ON FUNCTION apibuilder_changed() TO mallory")
	pgtest.Exec(t, url, tables)
	pgtest.Exec(t, url, trigger)
	s := openAt(t, url)
	run := func(sql string) error {
		_, err := rawPool(t, url).Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
		return err
	}
	if err := run("SET ROLE mallory; INSERT INTO mallory.apibuilder_tokens VALUES (1)"); err == nil {
		t.Error("a trigger from before tells of a table that is not ours")
	}
	if n := ask[int](t, url, "SELECT count(*) FROM mallory.loot"); n > 0 {
		t.Errorf("%d secrets were read as the owner", n)
	}
	if err := run("SET ROLE mallory; DROP TRIGGER c ON mallory.apibuilder_tokens"); err != nil {
		t.Error(err)
	}
	if err := run(trigger); codeOf(err) != insufficientRights {
		t.Errorf("anybody makes another: %v", err)
	}
	// Ours go on, for whoever may change a row and not execute the function.
	a, changes := makeAPI(t, s, "resize"), subscribe(t, s)
	pgtest.Exec(t, url, `GRANT SELECT, UPDATE ON apibuilder_apis TO mallory; CREATE POLICY theirs ON apibuilder_apis TO mallory USING (true)`)
	if err := run("SET ROLE mallory; UPDATE public.apibuilder_apis SET public = true"); err != nil {
		t.Error(err)
	}
	told(t, changes, store.Change{APIID: a.ID})
}

func TestUserThatMayNotCreateTables(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, `DO $$ BEGIN CREATE ROLE guest LOGIN; EXCEPTION WHEN duplicate_object THEN END $$; REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
	_, err := Open(t.Context(), Options{URL: strings.ReplaceAll(url, "user=postgres", "user=guest")})
	if err == nil || !strings.Contains(err.Error(), "GRANT CREATE ON SCHEMA") {
		t.Errorf("error is %v", err)
	}
}

func TestSchemaOfTheSearchPath(t *testing.T) {
	url := pgtest.Database(t)
	_, err := Open(t.Context(), Options{URL: url + "&search_path=ours"})
	if err == nil || !strings.Contains(err.Error(), "search_path=SCHEMA") {
		t.Fatalf("error is %v", err)
	}
	pgtest.Exec(t, url, "CREATE SCHEMA ours")
	s, there := openAt(t, url+"&search_path=ours"), openAt(t, url)
	makeAPI(t, s, "resize")
	makeAPI(t, there, "resize")
	if n := ask[int](t, url, "SELECT count(*) FROM ours.apibuilder_changes"); n == 0 {
		t.Error("changes of one schema are written down in another")
	}
}

// TestTheURLIsNeverShown tries what a wrong or an unreachable one brings.
func TestTheURLIsNeverShown(t *testing.T) {
	for _, url := range []string{
		"postgres://ann:s3cret@127.0.0.1:1/db", "postgres://ann:s3cret@[::1/db", "postgres://ann:s3cret@127.0.0.1:port/db",
		"host=/nowhere password=s3cret user=ann", "s3cret", "postgres://ann:s3cret@127.0.0.1:1/db?sslmode=s3cret", "mysql://ann:s3cret@h/db",
		"postgres://ann:p@s3cret@127.0.0.1:1/db", "postgres://ann:%zz@s3cret/db",
	} {
		_, err := Open(t.Context(), Options{URL: url})
		if err == nil || strings.Contains(err.Error(), "s3cret") && !strings.Contains(url, "@s3cret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error is %v", url, err)
		}
	}
	_, err := Open(t.Context(), Options{URL: "postgres://ann:s3cret@127.0.0.1:1/db"})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error is %v", err)
	}
}

func TestLookChangesNothing(t *testing.T) {
	url := pgtest.Database(t)
	newest := schema.Newest(schema.Migrations(files))
	o, err := Look(t.Context(), url)
	if err != nil || o.Version != 0 || o.Newest != newest || o.Schema != "public" || !o.Notifications || !strings.ContainsAny(o.Server, "123456789") {
		t.Errorf("an empty database: %+v, %v", o, err)
	}
	if ask[bool](t, url, "SELECT to_regclass('apibuilder_schema_migrations') IS NOT NULL") {
		t.Error("tables were made")
	}
	if o, err := Look(t.Context(), pgtest.Pooled(t, url)); err != nil || o.Notifications {
		t.Errorf("through a pooler in transaction mode: %+v, %v", o, err)
	}
	for name, c := range map[string]struct{ url, sql, want string }{
		"a standby": {"&default_transaction_read_only=on", "", "name the primary"},
		"no rights": {"&user=guest", `DO $$ BEGIN CREATE ROLE guest LOGIN; EXCEPTION WHEN duplicate_object THEN END $$; REVOKE CREATE ON SCHEMA public FROM PUBLIC`, `GRANT CREATE ON SCHEMA "public"`},
		"no schema": {"&search_path=ours", "", "search_path=SCHEMA"},
	} {
		if c.sql != "" {
			pgtest.Exec(t, url, c.sql)
		}
		if _, err := Look(t.Context(), url+c.url); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	openAt(t, url)
	if o, err := Look(t.Context(), url); err != nil || o.Version != newest {
		t.Errorf("one that is served: %+v, %v", o, err)
	}
	pgtest.Exec(t, url, "INSERT INTO apibuilder_schema_migrations VALUES (1000000, 'future', 0)")
	if _, err := Look(t.Context(), url); !errors.Is(err, schema.ErrNewer) {
		t.Errorf("a newer one: %v", err)
	}
	_, err = Look(t.Context(), "postgres://ann:s3cret@127.0.0.1:1/db")
	if !errors.Is(err, store.ErrUnavailable) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") {
		t.Errorf("nobody there: %v", err)
	}
}
