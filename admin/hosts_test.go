package admin_test

import (
	"net/http"
	"testing"
)

func TestHostsThatTheOperatorHasNotListed(t *testing.T) {
	f := newFixture(t)
	a, b := f.api(t, "a"), f.api(t, "b")
	patch := func(id, host string) int {
		return f.local(t, "PATCH", "/api/v1/apis/"+id, `{"options":{"host":"`+host+`"}}`).Code
	}
	for _, step := range []struct {
		id, host string
		status   int
	}{
		{a.ID, "bank.example", http.StatusBadRequest},
		{a.ID, "API.Customer.com", http.StatusOK},
		{b.ID, "api.customer.com", http.StatusConflict},
		{a.ID, "", http.StatusOK},
		{b.ID, "api.customer.com", http.StatusOK},
	} {
		if got := patch(step.id, step.host); got != step.status {
			t.Errorf("%s for %s: status %d, want %d", step.host, step.id, got, step.status)
		}
	}
	w := f.local(t, "POST", "/api/v1/deploys", `{"name":"c","code":"x","options":{"host":"bank.example"}}`)
	wantProblem(t, w, http.StatusBadRequest, "invalid_request")
}
