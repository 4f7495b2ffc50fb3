package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"apibuilder/pace"
	"apibuilder/store"
)

var usageTests = map[string]func(*testing.T, store.Store){
	"round trip":          usageRoundTrip,
	"exactly once":        usageOnce,
	"concurrent batches":  usageConcurrent,
	"whole batch or none": usageAtomic,
	"filter and order":    usageFilter,
	"count":               usageCount,
}

var exitTests = map[string]func(*testing.T, store.Store){
	"round trip":        exitRoundTrip,
	"keeps the newest":  exitKeeps,
	"needs an API":      exitOrphan,
	"each API's own 50": exitEach,
}

func usageRoundTrip(t *testing.T, s store.Store) {
	var u store.Usage
	fill(&u)
	check(t, s.AddUsage(t.Context(), []store.Usage{u}))
	same(t, "Usage", get(s.Usage(t.Context(), store.UsageFilter{ID: u.ID}))(t), []store.Usage{u})

	u.ID, u.Time = "zone", time.Date(2026, 1, 2, 3, 4, 5, 6007, time.FixedZone("", 7200))
	u.Duration, u.BytesIn, u.BytesOut = 1<<62, 1<<62, -1
	check(t, s.AddUsage(t.Context(), []store.Usage{u}))
	same(t, "Usage", get(s.Usage(t.Context(), store.UsageFilter{ID: u.ID}))(t), []store.Usage{u.Clean()})
	check(t, s.AddUsage(t.Context(), nil))
}

func usageOnce(t *testing.T, s store.Store) {
	a, b, c := usageRecord("a", "api_1"), usageRecord("b", "api_1"), usageRecord("c", "api_1")
	again := a
	again.Status, again.Path = 500, "/other"
	check(t, s.AddUsage(t.Context(), []store.Usage{a, again, b, a}))
	check(t, s.AddUsage(t.Context(), []store.Usage{a, b}))
	check(t, s.AddUsage(t.Context(), []store.Usage{again, c}))
	same(t, "Usage", get(s.Usage(t.Context(), store.UsageFilter{}))(t), []store.Usage{c, b, a})
}

func usageConcurrent(t *testing.T, s store.Store) {
	batch := make([]store.Usage, 300)
	for i := range batch {
		batch[i] = usageRecord(fmt.Sprint(i), "api_1")
	}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if err := s.AddUsage(pace.Patient(t.Context()), batch); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	same(t, "CountUsage", get(s.CountUsage(t.Context(), "", "", time.Time{}))(t), int64(len(batch)))
}

func usageAtomic(t *testing.T, s store.Store) {
	err := s.AddUsage(t.Context(), []store.Usage{usageRecord("a", "api_1"), usageRecord("", "api_1")})
	refused(t, err, store.ErrInvalid, "id")
	same(t, "CountUsage", get(s.CountUsage(t.Context(), "", "", time.Time{}))(t), int64(0))
}

func usageFilter(t *testing.T, s store.Store) {
	var batch []store.Usage
	for i := range 150 {
		u := usageRecord(fmt.Sprintf("req_%03d", i), fmt.Sprintf("api_%d", i%2))
		u.Time = day.Add(time.Duration(i/2) * time.Second)
		batch = append(batch, u)
	}
	check(t, s.AddUsage(t.Context(), batch))
	ids := func(f store.UsageFilter) (ids []string) {
		t.Helper()
		for _, u := range get(s.Usage(t.Context(), f))(t) {
			ids = append(ids, u.ID)
		}
		return ids
	}
	same(t, "default limit", len(ids(store.UsageFilter{})), 100)
	same(t, "all", len(ids(store.UsageFilter{Limit: 1000})), 150)
	same(t, "newest", ids(store.UsageFilter{Limit: 3}), []string{"req_149", "req_148", "req_147"})
	same(t, "of one API", ids(store.UsageFilter{Limit: 3, APIID: "api_0"}), []string{"req_148", "req_146", "req_144"})
	since := day.Add(74 * time.Second)
	same(t, "since", ids(store.UsageFilter{Since: since}), []string{"req_149", "req_148"})
	same(t, "since, later", len(ids(store.UsageFilter{Since: since.Add(time.Microsecond)})), 0)
	same(t, "all terms", ids(store.UsageFilter{Since: since, APIID: "api_1", ID: "req_149"}), []string{"req_149"})
	same(t, "contradiction", len(ids(store.UsageFilter{APIID: "api_0", ID: "req_149"})), 0)
}

func usageCount(t *testing.T, s store.Store) {
	old, fresh, other := usageRecord("a", "api_1"), usageRecord("b", "api_1"), usageRecord("c", "api_2")
	fresh.Time = day.Add(time.Hour)
	old.KeyID, fresh.KeyID, other.KeyID = "key_1", "", "key_2"
	check(t, s.AddUsage(t.Context(), []store.Usage{old, fresh, other}))
	for _, c := range []struct {
		api, key string
		since    time.Time
		want     int64
	}{
		{"", "", time.Time{}, 3},
		{"api_1", "", time.Time{}, 2},
		{"api_1", "", day, 2},
		{"api_1", "", day.Add(time.Microsecond), 1},
		{"", "", day.Add(time.Hour), 1},
		{"api_3", "", time.Time{}, 0},
		{"", "key_1", time.Time{}, 1},
		{"", "key_1", day, 1},
		{"", "key_1", day.Add(time.Microsecond), 0},
		{"api_1", "key_2", time.Time{}, 0},
	} {
		same(t, "CountUsage", get(s.CountUsage(t.Context(), c.api, c.key, c.since))(t), c.want)
	}
}

func exitRoundTrip(t *testing.T, s store.Store) {
	var e store.Exit
	fill(&e)
	e.APIID = makeAPI(t, s, "resize").ID
	check(t, s.AddExit(t.Context(), e))
	same(t, "Exits", get(s.Exits(t.Context(), e.APIID, 10))(t), []store.Exit{e})
	check(t, s.AddExit(t.Context(), store.Exit{APIID: e.APIID, Reason: "crashed"}))
	newest := get(s.Exits(t.Context(), e.APIID, 1))(t)
	same(t, "exits", len(newest), 1)
	recent(t, "Time", newest[0].Time)
}

func exitKeeps(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	for i := range 60 {
		at := day.Add(time.Duration(i/2) * time.Second)
		check(t, s.AddExit(t.Context(), store.Exit{APIID: a.ID, Version: i, Time: at}))
	}
	all := get(s.Exits(t.Context(), a.ID, 1000))(t)
	same(t, "exits", len(all), 50)
	for i, e := range all {
		same(t, "version", e.Version, 59-i)
	}
	same(t, "limited", len(get(s.Exits(t.Context(), a.ID, 7))(t)), 7)
	// The clock was set back, or another node's is behind: the newest is what came last.
	check(t, s.AddExit(t.Context(), store.Exit{APIID: a.ID, Version: 60, Time: day.Add(-time.Hour)}))
	same(t, "the newest version", get(s.Exits(t.Context(), a.ID, 1))(t)[0].Version, 60)
}

func exitOrphan(t *testing.T, s store.Store) {
	refused(t, s.AddExit(t.Context(), store.Exit{APIID: "api_nobody"}), store.ErrNotFound, "api_nobody")
	same(t, "exits", len(get(s.Exits(t.Context(), "api_nobody", 10))(t)), 0)
}

func exitEach(t *testing.T, s store.Store) {
	quiet, noisy := makeAPI(t, s, "quiet"), makeAPI(t, s, "noisy")
	check(t, s.AddExit(t.Context(), store.Exit{APIID: quiet.ID, Time: day}))
	for range 55 {
		check(t, s.AddExit(t.Context(), store.Exit{APIID: noisy.ID}))
	}
	same(t, "quiet one's exits", len(get(s.Exits(t.Context(), quiet.ID, 10))(t)), 1)
}
