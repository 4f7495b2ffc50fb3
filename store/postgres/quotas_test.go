package postgres

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"apibuilder/internal/pgtest"
	"apibuilder/store"
)

var quotaMonth = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

// TestQuotasFollowTheRule asks at random and compares each answer with the rule of shared.Ledger.
func TestQuotasFollowTheRule(t *testing.T) {
	s := openAt(t, pgtest.Database(t))
	rng := rand.New(rand.NewPCG(rand.Uint64(), 1))
	given := map[string]int64{}
	for range 300 {
		a := store.QuotaAsk{
			Policy: "key", Key: string(rune('a' + rng.IntN(4))), Month: quotaMonth.AddDate(0, rng.IntN(2), 0), Quota: rng.Int64N(100), Used: rng.Int64N(60),
			Extra: rng.Int64N(20) - 12, Want: rng.Int64N(20),
		}
		of := a.Key + a.Month.String()
		base := max(given[of]+a.Extra, a.Used, 0)
		want := store.QuotaGrant{Granted: max(min(a.Want, a.Quota-base), 0)}
		want.Given = base + want.Granted
		given[of] = want.Given
		if got, err := s.LeaseQuota(t.Context(), a); err != nil || got != want {
			t.Fatalf("%+v: %+v, %v, want %+v", a, got, err, want)
		}
	}
}

// TestQuotasOfManyAtOnce has connections draw on a quota, and some give back: no more is given than there is, and all of it.
func TestQuotasOfManyAtOnce(t *testing.T) {
	s := openAt(t, pgtest.Database(t))
	const quota = 500
	var held atomic.Int64
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 100 {
				a := store.QuotaAsk{Policy: "plan", Key: "u", Month: quotaMonth, Quota: quota, Want: 1 + rand.Int64N(9)}
				g, err := s.LeaseQuota(t.Context(), a)
				if err != nil {
					t.Error(err)
					return
				}
				if held.Add(g.Granted) > quota {
					t.Errorf("%d of %d are held", held.Load(), quota)
				}
				if back := g.Granted / 2; back > 0 {
					held.Add(-back) // before they can be given to another
					a.Extra, a.Want = -back, 0
					if _, err := s.LeaseQuota(t.Context(), a); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	if held.Load() != quota {
		t.Errorf("%d of %d were given", held.Load(), quota)
	}
	if err := s.purgeQuotas(t.Context()); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, s.pool.Config().ConnString(), "UPDATE apibuilder_quotas SET month = 1")
	if err := s.purgeQuotas(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := ask[int](t, s.pool.Config().ConnString(), "SELECT count(*) FROM apibuilder_quotas"); n != 0 {
		t.Errorf("%d rows of a month long over are left", n)
	}
}

// TestAQuotaAsksForItsOwnAlone makes a month of the sums of many keys and looks how PostgreSQL would add up those of one of them.
func TestAQuotaAsksForItsOwnAlone(t *testing.T) {
	url := pgtest.Database(t)
	s := openAt(t, url)
	month := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	for table, span := range map[string]time.Duration{"hours": time.Hour, "days": 24 * time.Hour} {
		pgtest.Exec(t, url, `INSERT INTO apibuilder_usage_`+table+` (start, api_id, key_id, user_id, requests)
			SELECT $1 + n * $2::bigint, 'api_' || k % 500, 'key_' || k, 'user_' || k % 500, 100 FROM generate_series(0, 29) n, generate_series(1, 2000) k`,
			month.UnixMicro(), span.Microseconds())
		pgtest.Exec(t, url, "ANALYZE apibuilder_usage_"+table)
	}
	for name, f := range map[string]store.SumFilter{
		"key": {KeyID: "key_7"}, "user": {UserID: "user_7"}, "api": {APIID: "api_7"},
	} {
		for table, by := range map[string]store.SumBy{"days": store.ByNothing, "hours": store.ByHour} {
			f.Since, f.By = month, by
			query, args, err := sumQuery(f)
			if err != nil {
				t.Fatal(err)
			}
			var plan string
			if err := s.pool.QueryRow(t.Context(), "EXPLAIN (FORMAT JSON) "+query, args...).Scan(&plan); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(plan, "apibuilder_usage_"+table+"_by_"+name) || strings.Contains(plan, "Seq Scan") {
				t.Errorf("of a %s by %q:\n%s", name, by, plan)
			}
		}
	}
	sums, err := s.SumUsage(t.Context(), store.SumFilter{KeyID: "key_7", Since: month})
	if err != nil || len(sums) != 1 || sums[0].Requests != 3000 {
		t.Errorf("%+v, %v", sums, err)
	}
}
