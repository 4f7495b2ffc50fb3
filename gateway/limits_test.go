package gateway

import (
	"net/http"
	"testing"

	"apibuilder/ratelimit"
)

// cannotCount is a limiter that cannot count.
type cannotCount struct{}

func (cannotCount) Allow(checks ...ratelimit.Check) ratelimit.Result {
	r := ratelimit.Result{Unavailable: true}
	r.Deny(checks[0], 1)
	return r
}

// TestWhatCannotBeCountedIsNoLimit has a consumer told that it is not the consumer's doing.
func TestWhatCannotBeCountedIsNoLimit(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) { t.Error("the program was called") })
	d.gateway.limiter = cannotCount{}
	limitAPI(d, "api_private", 10)
	got := d.get("/run/private/")
	got.wantProblem(t, http.StatusServiceUnavailable, wordStoreUnavailable)
	if got.Header.Get("Retry-After") != "1" || got.Header.Get("RateLimit") != "" {
		t.Errorf("%v", got.Header)
	}
}
