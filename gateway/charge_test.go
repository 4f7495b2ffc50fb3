package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"apibuilder/ratelimit"
	"apibuilder/store"
)

func TestQuotas(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	d.store.changeKey(testKey, private, func(k *store.Key) { k.Quota = 3; k.Rate = store.Rate{Requests: 2, Per: 300 * time.Millisecond} })
	d.store.updateAPI("api_private", func(a *store.API) { a.Options.Quota = 100 })
	for range 2 {
		if got := d.get("/run/private/"); got.StatusCode != 200 {
			t.Fatalf("status %d", got.StatusCode)
		}
		d.record()
	}
	d.get("/run/private/").wantProblem(t, 429, wordRateLimited) // uses up nothing
	d.record()
	deadline := time.Now().Add(patience)
	served := 2
	for served < 3 && time.Now().Before(deadline) {
		if got := d.get("/run/private/"); got.StatusCode == 200 {
			served++
		}
		d.record()
	}
	got := d.get("/run/private/")
	got.wantProblem(t, 429, wordOverQuota)
	wait, err := strconv.Atoi(got.Header.Get("Retry-After"))
	now := time.Now().UTC()
	end := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	if again := now.Add(time.Duration(wait) * time.Second); err != nil || again.Before(end.Add(-10*time.Second)) || again.After(end.Add(10*time.Second)) {
		t.Errorf("Retry-After %q leads to %v", got.Header.Get("Retry-After"), again)
	}
	if u := d.record(); u.Error != wordOverQuota || !u.Refused() {
		t.Errorf("record %+v", u)
	}
	// A larger one acts at once; the plan's counts all APIs of the user, with or without a key.
	d.store.changeKey(testKey, private, func(k *store.Key) { k.Quota, k.Rate = 0, store.Rate{} })
	d.store.change(func() store.Change {
		d.store.plans["default"] = store.Plan{Name: "default", Quota: 2}
		return store.Change{}
	})
	if got := d.get("/run/private/"); got.StatusCode != 200 {
		t.Errorf("status %d", got.StatusCode)
	}
	public, _ := http.NewRequest("GET", d.url+"/run/public/", nil)
	if got := d.do(public); got.StatusCode != 200 {
		t.Errorf("status %d", got.StatusCode)
	}
	d.do(public).wantProblem(t, 429, wordOverQuota)
	d.get("/run/private/").wantProblem(t, 429, wordOverQuota)
}

// What is admitted while a quota is off counts when it is on again.
func TestAQuotaThatIsOffForAWhile(t *testing.T) {
	var d *door
	quotas := ratelimit.NewMonthly(func(context.Context, ratelimit.Quota, time.Time) (int64, error) { return int64(d.journal.len()), nil })
	d = newDoor(t, Config{Quotas: quotas}, func(http.ResponseWriter, *http.Request) {})
	set := func(n int64) { d.store.updateAPI("api_private", func(a *store.API) { a.Options.Quota = n }) }
	ask := func() {
		if got := d.get("/run/private/"); got.StatusCode != 200 {
			t.Errorf("status %d", got.StatusCode)
		}
		d.record()
	}
	set(5)
	ask()
	set(0)
	for range 4 {
		ask()
	}
	set(5)
	d.get("/run/private/").wantProblem(t, 429, wordOverQuota)
	d.record()
	set(7) // the journal has a refusal, which this test counts as if it had been admitted
	ask()
}

// A program's own 429 is no refusal of the gateway's, whatever becomes of its answer.
func TestAProgramsOwn429UsesUpAQuota(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte("half"))
	})
	d.store.updateAPI("api_private", func(a *store.API) { a.Options.Quota = 1 })
	if res, err := d.client.Do(d.request("GET", "/run/private/", nil)); err == nil {
		_ = res.Body.Close()
	}
	if u := d.record(); u.Status != http.StatusTooManyRequests || u.Error == "" || u.Refused() {
		t.Errorf("record %+v", u)
	}
	d.get("/run/private/").wantProblem(t, 429, wordOverQuota)
}

// The store tells the gateway's refusals by their words.
func TestRefusedIsWhatTheGatewayRefusesForALimit(t *testing.T) {
	for word, kind := range problems {
		if u := (store.Usage{Status: kind.status, Error: word}); u.Refused() != (kind.status == http.StatusTooManyRequests || word == wordStoreUnavailable) {
			t.Errorf("%s: %d, refused: %v", word, kind.status, u.Refused())
		}
	}
}

func TestAQuotaThatNobodyKnows(t *testing.T) {
	away := errors.New("database: secret detail")
	var err error
	quotas := ratelimit.NewMonthly(func(_ context.Context, q ratelimit.Quota, _ time.Time) (int64, error) {
		if q.Policy != "api" || q.Key != "api_private" {
			t.Errorf("asked for %+v", q)
		}
		return 9, err
	})
	d := newDoor(t, Config{Quotas: quotas, Node: "here"}, func(http.ResponseWriter, *http.Request) {})
	d.store.updateAPI("api_private", func(a *store.API) { a.Options.Quota = 10 })
	err = away
	d.get("/run/private/").wantProblem(t, 503, wordStoreUnavailable)
	if n := d.journal.len(); n != 0 {
		t.Errorf("%d records of requests that were not admitted", n)
	}
	err = nil
	if got := d.get("/run/private/"); got.StatusCode != 200 {
		t.Errorf("status %d", got.StatusCode)
	}
	if u := d.record(); u.Node != "here" {
		t.Errorf("record %+v", u)
	}
	d.get("/run/private/").wantProblem(t, 429, wordOverQuota)
}

func TestRatePerAddress(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	perAddress := func(a *store.API) { a.Options.RatePerAddress = store.Rate{Requests: 2, Per: time.Hour} }
	d.store.updateAPI("api_public", perAddress)
	d.store.updateAPI("api_private", perAddress)
	public, _ := http.NewRequest("GET", d.url+"/run/public/", nil)
	for range 2 {
		if got := d.do(public); got.StatusCode != 200 || got.Header.Get("RateLimit-Policy") != `"address";q=2;w=3600` {
			t.Errorf("status %d, %v", got.StatusCode, got.Header)
		}
	}
	public.Header.Set("X-Forwarded-For", "192.0.2.7")
	d.do(public).wantProblem(t, 429, wordRateLimited)
	for range 5 {
		if got := d.get("/run/private/"); got.StatusCode != 200 {
			t.Errorf("with a key: status %d", got.StatusCode)
		}
	}
}

func TestRatePerAddressBehindAProxy(t *testing.T) {
	d := newDoor(t, Config{TrustedProxies: loopback}, func(http.ResponseWriter, *http.Request) {})
	d.store.updateAPI("api_public", func(a *store.API) { a.Options.RatePerAddress = store.Rate{Requests: 1, Per: time.Hour} })
	public, _ := http.NewRequest("GET", d.url+"/run/public/", nil)
	for _, client := range []string{"192.0.2.7", "192.0.2.8", "2001:db8::1"} {
		public.Header.Set("X-Forwarded-For", client)
		if got := d.do(public); got.StatusCode != 200 {
			t.Errorf("the first of %s: status %d", client, got.StatusCode)
		}
	}
	public.Header.Set("X-Forwarded-For", "192.0.2.9, 192.0.2.8") // the first is the consumer's own
	d.do(public).wantProblem(t, 429, wordRateLimited)
}

func TestNetworks(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7:80":              "192.0.2.7",
		"[::ffff:192.0.2.7]:80":     "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::",
		"[2001:db8:1:2:ffff::1]:81": "2001:db8:1:2::",
		"[2001:db8:1:3::1]:81":      "2001:db8:1:3::",
		"[fe80::1%eth0]:80":         "fe80::",
		"@":                         "invalid IP",
		"":                          "invalid IP",
	} {
		if got := network(addrOf(addr)); got != want {
			t.Errorf("%q is %q, want %q", addr, got, want)
		}
	}
}
