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

// TestAHostOfOneUser is listed for anna: nobody else takes it for an API of his own.
func TestAHostOfOneUser(t *testing.T) {
	f := newTwo(t)
	const take, give = `{"options":{"host":"annas.customer.com"}}`, `{"options":{"host":""}}`
	wantProblem(t, f.bert("PATCH", "/api/v1/apis/of-bert", take), http.StatusBadRequest, "invalid_request")
	wantProblem(t, f.bert("POST", "/api/v1/deploys", `{"name":"new","code":"x","options":{"host":"annas.customer.com"}}`), http.StatusBadRequest, "invalid_request")
	for i, step := range []string{take, give} {
		if w := f.anna("PATCH", "/api/v1/apis/of-anna", step); w.Code != http.StatusOK {
			t.Errorf("step %d: %d %s", i, w.Code, w.Body)
		}
	}
	if w := f.local(t, "PATCH", "/api/v1/apis/of-bert", take); w.Code != http.StatusOK { // the operator knows why
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
