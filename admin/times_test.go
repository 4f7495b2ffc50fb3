package admin_test

import (
	"net/http"
	"testing"

	"apibuilder/admin"
)

// A time of the year 9999 with a zone behind UTC is one of the year 10000 there, for which answers have no form: one such key
// emptied every list that it was in, and could not be shown or revoked.
func TestTimesWithoutAFormAreRefused(t *testing.T) {
	f := newFixture(t)
	f.api(t, "resize")
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/api/v1/apis/resize/keys", `{"expires_at":"9999-12-31T23:59:59-01:00"}`},
		{"POST", "/api/v1/tokens", `{"expires_at":"9999-12-31T23:59:59-01:00"}`},
		{"GET", "/api/v1/usage/sums?since=9999-12-31T23:59:59-01:00", ""},
		{"GET", "/api/v1/usage/sums?since=0000-01-01T00:00:00%2B01:00", ""},
		{"GET", "/api/v1/usage/egress?since=0000-01-01T00:00:00%2B01:00", ""},
		{"GET", "/api/v1/audit?until=9999-12-31T23:59:59-01:00", ""},
	} {
		wantProblem(t, f.local(t, c.method, c.path, c.body), http.StatusBadRequest, "bad_request")
	}
	last := `{"name":"far","expires_at":"9999-12-31T22:59:59-01:00"}`
	key := decode[admin.Key](t, f.local(t, "POST", "/api/v1/apis/resize/keys", last))
	token := decode[admin.Token](t, f.local(t, "POST", "/api/v1/tokens", last))
	if keys := decode[admin.Page[admin.Key]](t, f.local(t, "GET", "/api/v1/keys", "")); len(keys.Items) != 1 || keys.Items[0].ID != key.ID {
		t.Errorf("keys %+v", keys)
	}
	if tokens := decode[admin.Page[admin.Token]](t, f.local(t, "GET", "/api/v1/tokens", "")); len(tokens.Items) != 1 || tokens.Items[0].ID != token.ID {
		t.Errorf("tokens %+v", tokens)
	}
	for _, since := range []string{"9999-12-31T22:59:59-01:00", "0000-01-01T01:00:00%2B01:00"} {
		if w := f.local(t, "GET", "/api/v1/usage/sums?since="+since, ""); w.Code != http.StatusOK || w.Body.Len() == 0 {
			t.Errorf("since %s: status %d, %q", since, w.Code, w.Body)
		}
	}
}
