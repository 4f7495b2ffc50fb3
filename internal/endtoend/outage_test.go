package endtoend

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"apibuilder/internal/pgtest"
)

// onPostgres starts a server that keeps everything in a database. The URL comes from a file, as it should.
func onPostgres(t *testing.T, url string, args ...string) *server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return serve(t, dataDir(t), append([]string{"--no-example", "--database-url-file", file}, args...)...)
}

// count asks a database for one number.
func count(t *testing.T, url, query string, args ...any) (n int64) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// load calls an API from several clients until it is told to stop, and counts.
type load struct {
	stop           chan struct{}
	wait           sync.WaitGroup
	served, failed atomic.Int64
	mu             sync.Mutex
	first          string          // what went wrong first
	ids            map[string]bool // of all answers
}

func (l *load) begin(t *testing.T, d deployed, clients int) {
	l.stop, l.ids = make(chan struct{}), map[string]bool{}
	for range clients {
		l.wait.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				a, err := tryCall(context.WithoutCancel(t.Context()), http.MethodGet, d.URL+"/", d.Key, nil)
				l.mu.Lock()
				if err != nil || a.status != http.StatusOK {
					l.failed.Add(1)
					if l.first == "" {
						l.first = fmt.Sprint(a.status, string(a.body), err)
					}
				}
				if err == nil {
					l.ids[a.header.Get("X-Request-ID")] = true
					l.served.Add(1)
				}
				l.mu.Unlock()
			}
		})
	}
}

// reaches waits until so many more requests were served.
func (l *load) reaches(t *testing.T, more int64) {
	t.Helper()
	goal := l.served.Load() + more
	deadline := time.Now().Add(2 * time.Minute)
	for l.served.Load() < goal {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d requests were served", l.served.Load(), goal)
		}
		time.Sleep(10 * time.Millisecond) // there is no event to wait for: the clients are the event
	}
}

// TestTheDatabaseIsAway stops and starts PostgreSQL under load: no request fails, no record is lost or counted twice, deploys
// say why they cannot, and a program that ended meanwhile starts again.
func TestTheDatabaseIsAway(t *testing.T) {
	cluster := pgtest.New(t)
	url := cluster.Database(t)
	s := onPostgres(t, url)
	known := s.deploy("known", hello, "")
	fragile := s.deploy("fragile", hostile, "", "--public")
	fragile.get(t, "/")
	var l load
	l.begin(t, known, 4)
	l.reaches(t, 500)

	for i, end := range []func(){cluster.Stop, cluster.Kill} {
		end()
		l.reaches(t, 500)
		ready := call(t, http.MethodGet, s.url+"/readyz", "", nil)
		if ready.status != http.StatusOK || !strings.Contains(string(ready.body), "the database does not answer") {
			t.Errorf("readiness without the database: %d %s", ready.status, ready.body)
		}
		out, err := s.tryDeploy("known", hello, "")
		if err == nil || !strings.Contains(err.Error(), "the database cannot be reached") || !strings.Contains(out, `"store_unavailable"`) {
			t.Errorf("a deploy without the database: %s %v", out, err)
		}
		if a := call(t, http.MethodGet, s.url+"/run/stranger/", "", nil); a.problem() != "store_unavailable" {
			t.Errorf("an unknown API without the database: %d %s", a.status, a.body)
		}
		if i == 0 { // one that ends again soon is held off
			if a := call(t, http.MethodGet, fragile.URL+"/exit", "", nil); a.problem() != "crashed" {
				t.Errorf("the end of a program: %d %s", a.status, a.body)
			}
		}
		fragile.get(t, "/")
		if err := cluster.Start(); err != nil {
			t.Fatal(err)
		}
		l.reaches(t, 500)
	}
	close(l.stop)
	l.wait.Wait()
	if n := l.failed.Load(); n > 0 {
		t.Errorf("%d of %d requests failed, the first one: %s", n, l.served.Load(), l.first)
	}
	s.deploy("known", hello, "") // as soon as it is back
	s.stop()                     // delivers what waits
	apis := fmt.Sprintf("api_id = '%s'", known.ID)
	if n := count(t, url, "SELECT count(*) FROM apibuilder_usage WHERE "+apis); n != int64(len(l.ids)) {
		t.Errorf("%d records of %d requests", n, len(l.ids))
	}
	raw, err := json.Marshal(l.ids)
	if err != nil {
		t.Fatal(err)
	}
	if n := count(t, url, "SELECT count(*) FROM apibuilder_usage WHERE "+apis+" AND $1::jsonb ? id", string(raw)); n != int64(len(l.ids)) {
		t.Errorf("%d of %d requests have their record", n, len(l.ids))
	}
	t.Logf("%d requests, two outages", l.served.Load())
	if log := s.stderr.String(); strings.Contains(log, url) || !strings.Contains(log, "the database answers again") {
		t.Errorf("the server's log:\n%s", log)
	}
}

func TestAServerWithoutItsDatabaseDoesNotStart(t *testing.T) {
	s := &server{t: t, dataDir: dataDir(t)}
	t.Setenv("APIBUILDER_DATABASE_URL", "postgres://ann:s3cret@127.0.0.1:1/db")
	out, err := s.command("serve", "--listen", "127.0.0.1:0")
	if err == nil || !strings.Contains(err.Error(), "open the PostgreSQL database: the database cannot be reached") ||
		strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%s %v", out, err)
	}
}

// text asks a database for one text.
func text(t *testing.T, url, query string) (s string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), query).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}
