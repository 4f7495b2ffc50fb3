package endtoend

import (
	"context"
	"flag"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"apibuilder/internal/pgtest"
	"apibuilder/internal/testenv"
	"apibuilder/store"
	"apibuilder/store/postgres"
	"apibuilder/store/sqlite"
)

var kills = flag.Int("kills", 5, "how often TestKilledAtRandomMoments kills a server, on each store")

// TestKilledAtRandomMoments kills a server that serves, again and again: every request whose answer was whole has its record, each once,
// and the sums say the same.
func TestKilledAtRandomMoments(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		killAgainAndAgain(t, func() store.Store {
			st, err := sqlite.Open(t.Context(), filepath.Join(testenv.Dir(), "apibuilder.db"))
			if err != nil {
				t.Fatal(err)
			}
			return st
		})
	})
	t.Run("postgres", func(t *testing.T) {
		url := pgtest.Database(t)
		t.Setenv("APIBUILDER_DATABASE_URL", url)
		killAgainAndAgain(t, func() store.Store {
			st, err := postgres.Open(t.Context(), postgres.Options{URL: url})
			if err != nil {
				t.Fatal(err)
			}
			return st
		})
	})
}

func killAgainAndAgain(t *testing.T, open func() store.Store) {
	dir := dataDir(t)
	s := serve(t, dir, "--no-example", "--idle-timeout", "never")
	d := s.deploy("known", hello, "")
	whole := map[string]bool{} // ids of requests whose answers were whole
	for i := range *kills {
		d.URL = s.url + "/run/" + d.ID
		d.get(t, "/") // the program runs
		stop := callUntil(t, d, whole)
		time.Sleep(rand.N(2 * time.Second)) // the moment is the point
		s.kill()
		served := stop()
		t.Logf("kill %d: %d whole answers", i+1, served)
		s = serve(t, dir, "--no-example", "--idle-timeout", "never")
	}
	if _, err := s.command("usage", "--json"); err != nil { // waits for the journal
		t.Error(err)
	}
	s.stop()

	st := open()
	defer st.Close()
	records, err := st.Usage(t.Context(), store.UsageFilter{APIID: d.ID, Limit: 10_000_000})
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, u := range records {
		times[u.ID]++
	}
	lost := 0
	for id := range whole {
		if times[id] == 0 {
			lost++
		}
	}
	if lost > 0 || len(whole) == 0 {
		t.Errorf("%d of %d requests have no record", lost, len(whole))
	}
	if len(times) != len(records) {
		t.Errorf("%d records of %d requests", len(records), len(times))
	}
	for _, by := range []store.SumBy{store.ByHour, store.ByDay, store.ByKey} {
		sums, err := st.SumUsage(t.Context(), store.SumFilter{By: by, APIID: d.ID})
		if n := store.Requests(sums); err != nil || n != int64(len(records)) {
			t.Errorf("by %s there were %d requests, and there are %d records, %v", by, n, len(records), err)
		}
	}
	t.Logf("%d kills, %d whole answers, %d records", *kills, len(whole), len(records))
}

// callUntil calls an API from several clients until stop is called, and adds the ids of whole answers. Stop returns how many those were.
func callUntil(t *testing.T, d deployed, whole map[string]bool) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var mu sync.Mutex
	var wg sync.WaitGroup
	served := 0
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				a, err := tryCall(context.WithoutCancel(ctx), http.MethodGet, d.URL+"/", d.Key, nil)
				if err != nil || a.status != http.StatusOK {
					return // it is dead
				}
				mu.Lock()
				whole[a.header.Get("X-Request-ID")] = true
				served++
				mu.Unlock()
			}
		})
	}
	return func() int {
		cancel()
		wg.Wait()
		return served
	}
}
