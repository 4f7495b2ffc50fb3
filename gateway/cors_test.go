package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"apibuilder/store"
)

func corsDoor(t *testing.T, change func(*store.Options), fields ...string) *door {
	t.Helper()
	d := newDoor(t, hostsConfig(t), says(fields...))
	d.store.updateAPI("api_private", func(a *store.API) { change(&a.Options) })
	return d
}

const (
	friend   = "https://app.example.com"
	asksPost = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-api-key, content-type\r\n"
)

func wantFields(t *testing.T, g got, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := strings.Join(g.Header.Values(name), " | "); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}

func TestCORSPreflight(t *testing.T) {
	d := corsDoor(t, func(o *store.Options) {
		o.CORSOrigins, o.CORSMethods = []string{friend}, []string{"GET", "POST"}
		o.CORSHeaders, o.CORSCredentials, o.CORSMaxAge = []string{"X-Api-Key"}, true, time.Minute
	})
	got := d.at("a", "OPTIONS /run/private/x", "Origin: "+friend+"\r\n"+asksPost)
	if got.StatusCode != 204 {
		t.Errorf("status %d", got.StatusCode)
	}
	wantFields(t, got, map[string]string{
		"Access-Control-Allow-Origin": friend, "Access-Control-Allow-Methods": "GET, POST", "Access-Control-Allow-Headers": "X-Api-Key",
		"Access-Control-Allow-Credentials": "true", "Access-Control-Max-Age": "60",
		"Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
	})
	if u := d.record(); u.Status != 204 || u.StartWait != 0 || u.Method != "OPTIONS" {
		t.Errorf("record %+v", u)
	}
	got = d.at("a", "OPTIONS /run/private/x", "Origin: https://evil.example\r\n"+asksPost)
	got.wantProblem(t, 403, wordCORSRefused)
	wantFields(t, got, map[string]string{"Access-Control-Allow-Origin": "", "Vary": "Origin"})
	got = d.at("private.apps.example.com", "OPTIONS /x", "Origin: "+friend+"\r\n"+asksPost)
	wantFields(t, got, map[string]string{"Access-Control-Allow-Origin": friend})
	d.at("a", "OPTIONS /run/private/x", "Origin: "+friend+"\r\n").wantProblem(t, 401, wordMissingKey) // no preflight
}

func TestCORSOfAnyOrigin(t *testing.T) {
	d := corsDoor(t, func(o *store.Options) { o.CORSOrigins, o.CORSCredentials = []string{"*"}, true })
	got := d.at("a", "OPTIONS /run/private/x", "Origin: https://any.example\r\n"+asksPost)
	wantFields(t, got, map[string]string{
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "POST", "Access-Control-Allow-Headers": "x-api-key, content-type",
		"Access-Control-Allow-Credentials": "", "Access-Control-Max-Age": "",
	})
}

// Pages from files and sandboxed frames have no origin, and say so.
func TestCORSOfPagesWithoutAnOrigin(t *testing.T) {
	d := corsDoor(t, func(o *store.Options) { o.CORSOrigins = []string{friend, "null"} })
	wantFields(t, d.at("a", "OPTIONS /run/private/x", "Origin: null\r\n"+asksPost), map[string]string{"Access-Control-Allow-Origin": "null"})
	wantFields(t, d.at("a", "OPTIONS /run/private/x", "Origin: https://other.example\r\n"+asksPost), map[string]string{"Access-Control-Allow-Origin": ""})
}

func TestCORSReplacesTheProgramsOwn(t *testing.T) {
	d := corsDoor(t, func(o *store.Options) { o.CORSOrigins, o.CORSCredentials = []string{friend}, true },
		"Access-Control-Allow-Origin", "*", "Access-Control-Max-Age", "9", "Access-Control-Allow-Private-Network", "true", "Vary", "Accept", "X-Mine", "1")
	key := "X-API-Key: " + testKey + "\r\n"
	got := d.at("a", "GET /run/private/", key+"Origin: "+friend+"\r\n")
	wantFields(t, got, map[string]string{
		"Access-Control-Allow-Origin": friend, "Access-Control-Allow-Credentials": "true", "Access-Control-Max-Age": "",
		"Access-Control-Allow-Private-Network": "", "Vary": "Accept | Origin",
	})
	if exposed := got.Header.Get("Access-Control-Expose-Headers"); !strings.Contains(exposed, "X-Mine") || !strings.Contains(exposed, "X-Request-Id") {
		t.Errorf("exposed %q", exposed)
	}
	for _, origin := range []string{"", "Origin: https://evil.example\r\n", "Origin: null\r\n", "Origin: " + friend + ".evil.example\r\n", "Origin: https://APP.example.com\r\n"} {
		got = d.at("a", "GET /run/private/", key+origin)
		wantFields(t, got, map[string]string{"Access-Control-Allow-Origin": "", "Access-Control-Allow-Credentials": "", "Vary": "Accept | Origin"})
	}
	got = d.at("a", "GET /run/private/", "Origin: "+friend+"\r\n")
	got.wantProblem(t, 401, wordMissingKey)
	wantFields(t, got, map[string]string{"Access-Control-Allow-Origin": friend})
}

// TestCORSOfTheProgram shows that without the option all is the program's.
func TestCORSOfTheProgram(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
	})
	for _, line := range []string{"OPTIONS /run/public/", "GET /run/public/"} {
		got := d.at("a", line, "Origin: "+friend+"\r\n"+asksPost)
		wantFields(t, got, map[string]string{"Access-Control-Allow-Origin": friend, "Access-Control-Allow-Methods": "", "Vary": ""})
	}
}
