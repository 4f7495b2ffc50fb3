package admin_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"apibuilder/admin"
	"apibuilder/store"
)

func TestKeysOfAUser(t *testing.T) {
	f := newFixture(t)
	user, err := f.store.CreateUser(t.Context(), store.User{ID: "user_1", Name: "ann", Plan: store.DefaultPlan})
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	body := fmt.Sprintf(`{"name":"hers","quota":7,"allow":["GET /items/*"],"expires_at":%q}`, end.Format(time.RFC3339))
	key := decode[admin.Key](t, f.local(t, "POST", "/api/v1/users/ann/keys", body))
	if key.User != user.ID || key.API != "" || key.Quota != 7 || len(key.Allow) != 1 || !key.ExpiresAt.Equal(end) || key.Secret == "" {
		t.Errorf("created %+v", key)
	}
	of := decode[[]admin.Key](t, f.local(t, "GET", "/api/v1/users/ann/keys", ""))
	all := decode[[]admin.Key](t, f.local(t, "GET", "/api/v1/keys", ""))
	if len(of) != 1 || len(all) != 1 || of[0].Secret != "" || all[0].ID != key.ID {
		t.Errorf("listed %+v and %+v", of, all)
	}
	decode[admin.Key](t, f.local(t, "DELETE", "/api/v1/users/ann/keys/hers", ""))
	wantProblem(t, f.local(t, "GET", "/api/v1/users/bob/keys", ""), http.StatusNotFound, "not_found")
}

func TestRotateKey(t *testing.T) {
	f := newFixture(t)
	f.api(t, "resize")
	first := decode[admin.Key](t, f.local(t, "POST", "/api/v1/apis/resize/keys", `{"name":"phone"}`))
	next := decode[admin.Key](t, f.local(t, "POST", "/api/v1/keys/phone/rotate", `{"overlap_seconds":3600}`))
	if next.ID != first.ID || next.Secret == first.Secret || next.Secret == "" || next.Previous == nil ||
		next.Previous.Prefix != first.Prefix || time.Until(next.Previous.Until) < 59*time.Minute {
		t.Errorf("rotated %+v", next)
	}
	for _, secret := range []string{first.Secret, next.Secret} {
		if _, err := f.store.KeyByHash(t.Context(), store.HashSecret(secret)); err != nil {
			t.Error(err)
		}
	}
	wantProblem(t, f.local(t, "POST", "/api/v1/keys/phone/rotate", `{"overlap_seconds":-1}`), http.StatusBadRequest, "bad_request")
	wantProblem(t, f.local(t, "POST", "/api/v1/keys/nobody/rotate", `{}`), http.StatusNotFound, "not_found")
}

func TestKeysThatAreRefused(t *testing.T) {
	f := newFixture(t)
	f.api(t, "resize")
	for body, mentions := range map[string]string{
		`{"allow":["GET"]}`:                     "has no space",
		`{"quota":-1}`:                          "quota of -1",
		`{"expires_at":"2001-01-01T00:00:00Z"}`: "would have expired",
		`{"allow":["` + strings.Repeat(`GET /","`, 64) + `GET /"]}`: "65 things",
	} {
		p := wantProblem(t, f.local(t, "POST", "/api/v1/apis/resize/keys", body), http.StatusBadRequest, "bad_request")
		if !strings.Contains(p.Detail, mentions) {
			t.Errorf("%s: %s", body, p.Detail)
		}
	}
}

func TestSumsAndQuotas(t *testing.T) {
	f := newFixture(t)
	api := f.api(t, "resize")
	key := decode[admin.Key](t, f.local(t, "POST", "/api/v1/apis/resize/keys", `{"name":"few","quota":5}`))
	decode[admin.Plan](t, f.local(t, "PATCH", "/api/v1/plans/default", `{"quota":100}`))
	now := time.Now()
	records := []store.Usage{
		{ID: "1", APIID: api.ID, KeyID: key.ID, Time: now, Status: 200},
		{ID: "2", APIID: api.ID, Time: now, Status: 200},
		{ID: "3", APIID: api.ID, KeyID: key.ID, Time: now, Status: 429, Error: "over_quota"},
		{ID: "4", APIID: api.ID, Time: now.AddDate(0, -2, 0), Status: 200},
	}
	if err := f.store.AddUsage(context.Background(), records); err != nil {
		t.Fatal(err)
	}
	sums := decode[admin.UsageSums](t, f.local(t, "GET", "/api/v1/usage/sums?by=key&api=resize", ""))
	if len(sums.Sums) != 2 || sums.Sums[0].Requests != 2 || sums.Sums[1].Key != key.ID || sums.Sums[1].Admitted != 1 {
		t.Errorf("sums %+v", sums)
	}
	wantProblem(t, f.local(t, "GET", "/api/v1/usage/sums?by=colour", ""), http.StatusBadRequest, "bad_request")
	wantProblem(t, f.local(t, "GET", "/api/v1/usage/sums?user=bob", ""), http.StatusNotFound, "not_found")
	quotas := decode[[]admin.QuotaUse](t, f.local(t, "GET", "/api/v1/quotas", ""))
	if len(quotas) != 2 || quotas[0].Of != "plan" || quotas[0].Used != 2 || quotas[1].ID != key.ID || quotas[1].Used != 1 || quotas[1].ResetsAt.Day() != 1 {
		t.Errorf("quotas %+v", quotas)
	}
	// The total is of what is asked for, as the records are.
	at := func(d time.Duration) string { return now.Add(d).UTC().Format(time.RFC3339) }
	for query, want := range map[string]int64{
		"": 4, "api=resize": 4, "key=" + key.ID: 2, "key=none": 0, "id=1": 1, "id=none": 0, "limit=1": 4, "limit=1&key=" + key.ID: 2,
		"since=" + at(-time.Hour): 3, "until=" + at(-time.Hour): 1, "until=" + at(time.Hour): 4, "until=" + at(-3*24*time.Hour) + "&since=" + at(-time.Hour): 0,
	} {
		if got := decode[admin.Usage](t, f.local(t, "GET", "/api/v1/usage?"+query, "")); got.Total != want {
			t.Errorf("%q: a total of %d, want %d", query, got.Total, want)
		}
	}
	wantProblem(t, f.local(t, "PATCH", "/api/v1/plans/default", `{"quota":-1}`), http.StatusBadRequest, "bad_request")
	// What is kept of an API that is gone can be asked for by its id.
	f.local(t, "DELETE", "/api/v1/apis/resize", "")
	if got := decode[admin.Usage](t, f.local(t, "GET", "/api/v1/usage?api="+api.ID, "")); got.Total != 4 || len(got.Records) != 4 {
		t.Errorf("of an API that is gone: %+v", got)
	}
	if got := decode[admin.UsageSums](t, f.local(t, "GET", "/api/v1/usage/sums?api="+api.ID, "")); len(got.Sums) != 1 || got.Sums[0].Requests != 4 {
		t.Errorf("of an API that is gone: %+v", got)
	}
	wantProblem(t, f.local(t, "GET", "/api/v1/usage?api=resize", ""), http.StatusNotFound, "not_found")
}
