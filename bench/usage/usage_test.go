// Package usage measures reports over many usage records, on both stores. Records are made by SQL, sums by the statements with which
// an upgrade fills them. In CI there are few, and the reports are compared with what the records say.
package usage

import (
	"cmp"
	"context"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"apibuilder/internal/pgtest"
	"apibuilder/store"
	"apibuilder/store/postgres"
	"apibuilder/store/sqlite"
)

var (
	rows = flag.Int("rows", 200_000, "usage records in a month")
	kept = flag.String("kept", "", "SQLite's database: filled when it is missing, and left there for another run; of as many rows")
)

const (
	apis   = 100 // each with 10 keys
	routes = 20  // of each API
	days   = 30
)

var month = time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// fill is the SQL that makes record n of a source of numbers from 0.
func fill(table, source, id string) string {
	return fmt.Sprintf(`INSERT INTO %s (id, api_id, version, key_id, time, method, path, route, node, status, error, bytes_in, bytes_out,
			duration_us, start_wait_us)
		SELECT %s, 'api_' || (n %% %d), 1, 'key_' || (n %% %d), %d + n * %d + n %% 100, 'GET', '/items/' || (n %% 1000),
			'/' || (n / %d %% %d) || '/{id}', 'node', CASE n %% 50 WHEN 0 THEN 500 WHEN 1 THEN 404 ELSE 200 END, '', n %% 1000, 512, 1000 + n %% 5000, 0
		FROM %s`, table, id, apis, 10*apis, month.UnixMicro(), (days*24*time.Hour).Microseconds()/int64(*rows), apis, routes, source)
}

// sums are the statements of the migrations that fill the sums.
func sums(tb testing.TB, driver string) (all []string) {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "store", driver, "migrations", "*_usage_*.sql"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		for statement := range strings.SplitSeq(string(raw), ";\n") {
			if s := strings.TrimSpace(statement); strings.HasPrefix(s, "INSERT") {
				all = append(all, s)
			}
		}
	}
	if len(all) != 4 {
		tb.Fatalf("migrations fill %d tables of sums", len(all))
	}
	// The last one is for records from before routes were known.
	usage, table := "usage", "usage_routes"
	if driver == "postgres" {
		usage, table = "apibuilder_usage", "apibuilder_usage_routes"
	}
	all[3] = fmt.Sprintf(`INSERT INTO %s (start, api_id, user_id, route, requests, admitted, client_errors, server_errors, bytes_in, bytes_out, duration_us)
		SELECT time - time %% 86400000000, api_id, '', route, count(*), count(*), sum(CASE WHEN status BETWEEN 400 AND 499 THEN 1 ELSE 0 END),
			sum(CASE WHEN status >= 500 THEN 1 ELSE 0 END), sum(bytes_in), sum(bytes_out), sum(duration_us)
		FROM %s GROUP BY 1, 2, 3, 4`, table, usage)
	return all
}

// filled is a store with the records, and a way to ask it for one number by SQL.
type filled struct {
	store.Store
	table string
	ask   func(query string, args ...any) int64
}

func onSQLite(tb testing.TB) filled {
	tb.Helper()
	path := cmp.Or(*kept, filepath.Join(tb.TempDir(), "apibuilder.db"))
	_, missing := os.Stat(path)
	reopen := func() store.Store {
		st, err := sqlite.Open(context.Background(), path)
		if err != nil {
			tb.Fatal(err)
		}
		return st
	}
	if missing != nil {
		if err := reopen().Close(); err != nil { // it has made the tables
			tb.Fatal(err)
		}
		fillSQLite(tb, path)
	}
	st := reopen()
	tb.Cleanup(func() { st.Close() })
	return filled{st, "usage", func(query string, args ...any) (n int64) {
		db, err := sql.Open("sqlite", "file:"+path)
		if err != nil {
			tb.Fatal(err)
		}
		defer db.Close()
		if err := db.QueryRow(query, args...).Scan(&n); err != nil {
			tb.Fatal(err)
		}
		return n
	}}
}

func fillSQLite(tb testing.TB, path string) {
	tb.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(OFF)&_pragma=synchronous(0)&_pragma=cache_size(-800000)")
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	source := fmt.Sprintf("(WITH RECURSIVE c (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < %d) SELECT n FROM c)", *rows-1)
	for _, statement := range append([]string{fill("usage", source, "printf('%032d', n)")}, sums(tb, "sqlite")...) {
		if _, err := db.Exec(statement); err != nil {
			tb.Fatal(err)
		}
	}
}

func onPostgres(tb testing.TB) filled {
	tb.Helper()
	url := pgtest.Database(tb)
	ctx := context.Background()
	st, err := postgres.Open(ctx, postgres.Options{URL: url})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { st.Close() })
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close(ctx) })
	source := fmt.Sprintf("generate_series(0::bigint, %d) AS g (n)", *rows-1)
	statements := append([]string{fill("apibuilder_usage", source, "lpad(n::text, 32, '0')")}, sums(tb, "postgres")...)
	for _, statement := range append(statements, "ANALYZE") {
		if _, err := conn.Exec(ctx, statement); err != nil {
			tb.Fatal(err)
		}
	}
	return filled{st, "apibuilder_usage", func(query string, args ...any) (n int64) {
		if err := conn.QueryRow(ctx, query, args...).Scan(&n); err != nil {
			tb.Fatal(err)
		}
		return n
	}}
}

var stores = map[string]func(testing.TB) filled{"sqlite": onSQLite, "postgres": onPostgres}

// reports are what an operator asks for of a month.
var reports = map[string]store.SumFilter{
	"all":        {Since: month},
	"by day":     {Since: month, By: store.ByDay},
	"by api":     {Since: month, By: store.ByAPI},
	"by key":     {Since: month, By: store.ByKey},
	"by user":    {Since: month, By: store.ByUser},
	"by hour":    {Since: month, By: store.ByHour},
	"by route":   {Since: month, By: store.ByRoute},
	"one api":    {Since: month, By: store.ByDay, APIID: "api_7"},
	"broken day": {Since: month.Add(90 * time.Minute), By: store.ByAPI},
}

// TestReports compares every report with the records.
func TestReports(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			for what, filter := range reports {
				begin, before := time.Now(), cpuTime(t)
				sums, err := f.SumUsage(t.Context(), filter)
				took, cpu := time.Since(begin), cpuTime(t)-before
				if err != nil {
					t.Fatal(err)
				}
				since, _ := filter.Spans()
				want := f.ask("SELECT count(*) FROM "+f.table+" WHERE time >= $1 AND ($2 = '' OR api_id = $2)", since.UnixMicro(), filter.APIID)
				if n := store.Requests(sums); n != want || n == 0 {
					t.Errorf("%s: %d requests, and there are %d records", what, n, want)
				}
				if filter.By == store.ByRoute && len(sums) != apis*routes {
					t.Errorf("%s: %d lines, want %d", what, len(sums), apis*routes)
				}
				t.Logf("%s: %d lines in %v, %v of this process's CPU time", what, len(sums), took, cpu)
			}
			one, err := f.SumUsage(t.Context(), store.SumFilter{APIID: "api_1", KeyID: "key_1"})
			if err != nil {
				t.Fatal(err)
			}
			for column, n := range map[string]int64{
				"sum(bytes_in)": one[0].BytesIn, "sum(duration_us)": one[0].Duration.Microseconds(),
				"sum(CASE WHEN status = 404 THEN 1 ELSE 0 END)": one[0].ClientErrors,
			} {
				if want := f.ask("SELECT CAST(coalesce(" + column + ", 0) AS BIGINT) FROM " + f.table + " WHERE api_id = 'api_1' AND key_id = 'key_1'"); n != want {
					t.Errorf("%s is %d, want %d", column, n, want)
				}
			}
			begin := time.Now()
			if n, err := f.CountUsage(t.Context(), "", "", time.Time{}); err != nil || n != int64(*rows) {
				t.Errorf("CountUsage: %d, %v", n, err)
			}
			t.Logf("CountUsage in %v", time.Since(begin))
		})
	}
}

// cpuTime is what this process has used: with SQLite all of a report, with PostgreSQL the reading of its answer. On a busy machine the
// time on the wall is longer.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
