package gateway

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"apibuilder/ratelimit"
	"apibuilder/store"
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
	if u := d.record(); u.Error != wordStoreUnavailable || !u.Refused() {
		t.Errorf("it uses up quotas: %+v", u)
	}
}

// TestAddressesOverHTTP2 has the limit of HTTP/1 count there: of the whole target.
func TestAddressesOverHTTP2(t *testing.T) {
	d := newDoor(t, Config{Limits: Limits{URLBytes: 1000}}, func(http.ResponseWriter, *http.Request) {})
	d.client = overHTTP2(d.addr, nil)
	defer d.client.CloseIdleConnections()
	target := "/run/public/"
	target += strings.Repeat("x", 1000-len(target))
	if got := d.get(target); got.StatusCode != 200 || got.ProtoMajor != 2 {
		t.Errorf("at the limit: HTTP/%d, %d", got.ProtoMajor, got.StatusCode)
	}
	d.get(target+"x").wantProblem(t, http.StatusRequestURITooLong, wordURLTooLong)
}

func TestHeadersOverHTTP2(t *testing.T) {
	d := newDoor(t, Config{Limits: Limits{HeaderBytes: 40_000}}, func(http.ResponseWriter, *http.Request) {})
	d.client = overHTTP2(d.addr, nil)
	defer d.client.CloseIdleConnections()
	ask := func(fields, size int) got {
		r := d.request("GET", "/run/private/", nil)
		for i := range fields {
			r.Header["A"+strconv.Itoa(i)] = []string{""}
		}
		r.Header["User-Agent"], r.Header["Accept-Encoding"] = []string{""}, []string{strings.Repeat("x", size)}
		return d.do(r)
	}
	most := mostRequestFields - len([]string{"Host", "X-Api-Key", "Accept-Encoding"})
	if got := ask(most, 0); got.StatusCode != 200 || got.ProtoMajor != 2 {
		t.Errorf("with the most fields: HTTP/%d, %d", got.ProtoMajor, got.StatusCode)
	}
	ask(most+1, 0).wantProblem(t, http.StatusRequestHeaderFieldsTooLarge, wordHeaderTooLarge)
	rest := len("GET /run/private/ HTTP/1.1\r\nHost: " + d.addr + "\r\nX-Api-Key: " + testKey + "\r\nAccept-Encoding: \r\n\r\n")
	if got := ask(0, 40_000-rest); got.StatusCode != 200 {
		t.Errorf("with the most bytes: %d", got.StatusCode)
	}
	ask(0, 40_001-rest).wantProblem(t, http.StatusRequestHeaderFieldsTooLarge, wordHeaderTooLarge)
}

// TestHeadsOfAnAPI has an API with tighter limits than the server's, which hold for who may call it, and one whose are wider.
func TestHeadsOfAnAPI(t *testing.T) {
	d := newDoor(t, Config{Limits: Limits{URLBytes: 1000, HeaderBytes: 2000}}, func(http.ResponseWriter, *http.Request) {})
	d.store.updateAPI("api_private", func(a *store.API) { a.Options.MaxURL, a.Options.MaxHeader = 200, 500 })
	d.store.updateAPI("api_public", func(a *store.API) { a.Options.MaxURL, a.Options.MaxHeader = 5000, 5000 })
	for _, c := range []struct {
		name           string
		target, field  int // bytes of them
		api, key, word string
	}{
		{"within", 200, 200, "private", testKey, ""},
		{"a long address", 201, 0, "private", testKey, wordURLTooLong},
		{"a large header", 100, 500, "private", testKey, wordHeaderTooLarge},
		{"a large header of a stranger", 100, 500, "private", unknownK, wordInvalidKey},
		{"within the server's", 999, 100, "public", "", ""},
		{"an address too long for the server", 1001, 0, "public", "", wordURLTooLong},
		{"a header too large for the server", 100, 2000, "public", "", wordHeaderTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := "/run/" + c.api + "/"
			target += strings.Repeat("x", c.target-len(target))
			conn := d.dial()
			if c.key != "" {
				c.key = "X-API-Key: " + c.key + "\r\n"
			}
			conn.send("GET %s HTTP/1.1\r\nHost: h\r\n%sX: %s\r\n\r\n", target, c.key, strings.Repeat("x", c.field))
			got := conn.answer("GET")
			switch {
			case c.word != "":
				got.wantProblem(t, got.StatusCode, c.word)
			case got.StatusCode != http.StatusOK:
				t.Errorf("status %d: %s", got.StatusCode, got.text)
			}
		})
	}
}

// TestHeadBytes counts what is sent.
func TestHeadBytes(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	head := "GET /run/private/a?b HTTP/1.1\r\nHost: h\r\nX-Api-Key: " + testKey + "\r\nTwo: 1\r\nTwo: 2\r\n\r\n"
	for most, status := range map[int64]int{int64(len(head)): 200, int64(len(head)) - 1: 431} {
		d.store.updateAPI("api_private", func(a *store.API) { a.Options.MaxHeader = most })
		conn := d.dial()
		conn.send("%s", head)
		if got := conn.answer("GET"); got.StatusCode != status {
			t.Errorf("%d bytes where %d are allowed: status %d", len(head), most, got.StatusCode)
		}
	}
}
