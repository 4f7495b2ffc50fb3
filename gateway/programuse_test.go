package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"apibuilder/store"
)

var templateTime = time.Date(2026, 4, 1, 23, 59, 59, 0, time.UTC)

func TestUseIn(t *testing.T) {
	const route = "/items/{id}"
	for text, want := range map[string]programUse{
		"1500 " + route: {1500 * time.Microsecond, route},
		"0 /":           {0, "/"},
		"7 ":            {7 * time.Microsecond, ""},
		"7":             {7 * time.Microsecond, ""},
		"7 /caf\u00e9":  {7 * time.Microsecond, "/caf\u00e9"},
		"":              {}, " " + route: {}, "-1 " + route: {}, "+1 " + route: {}, "1e3 " + route: {}, "0x1 " + route: {},
		"99999999999999 " + route:        {},
		"9999999999999 " + route:         {9999999999999 * time.Microsecond, route},
		"7 items":                        {7 * time.Microsecond, ""},
		"7 /" + strings.Repeat("a", 200): {7 * time.Microsecond, ""},
		"7 /\xff":                        {7 * time.Microsecond, ""},
	} {
		if got := useIn(newFields(useField, text)); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
	if got := useIn(newFields(useField, "1 /a", useField, "2 /b")); got != (programUse{}) {
		t.Errorf("two fields: %+v", got)
	}
	if got := useIn(newFields()); got != (programUse{}) {
		t.Errorf("no field: %+v", got)
	}
}

func FuzzUseIn(f *testing.F) {
	for _, text := range []string{"1500 /items/{id}", "7", " /", "9999999999999 /", "99999999999999 /", "1 /\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u := useIn(newFields(useField, text))
		if u.cpu < 0 || u.cpu > 120*24*time.Hour || len(u.route) > longestTemplate || !utf8.ValidString(u.route) {
			t.Errorf("%q: %+v", text, u)
		}
	})
}

// A program that makes up a route for each request fills neither memory nor the sums; others are not bounded by it.
func TestTemplatesAreBounded(t *testing.T) {
	var known templates
	for i := range 3 * mostTemplates {
		route := fmt.Sprintf("/%d", i)
		if got := known.known("api_1", route, templateTime); (got == route) != (i < mostTemplates) || got != route && got != "" {
			t.Fatalf("route %d is %q", i, got)
		}
	}
	if got := known.known("api_1", "/7", templateTime); got != "/7" {
		t.Errorf("a known route is %q", got)
	}
	if got := known.known("api_2", "/other", templateTime); got != "/other" {
		t.Errorf("another API's is %q", got)
	}
	if got := known.known("api_1", "/new", templateTime.Add(time.Second)); got != "/new" {
		t.Errorf("on the next day it is %q", got)
	}
	if got := known.known("api_3", "/late", templateTime); got != "/late" || len(known.apis) != 2 {
		t.Errorf("a clock that goes back: %q, %d APIs", got, len(known.apis))
	}
}

// The field that the runner adds is in the record and nowhere else: neither in the consumer's header nor in its trailer.
func TestRecordHasWhatTheProgramUsed(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", useField)
		w.Header().Add(useField, "1500 /items/{id}")
		switch r.URL.Path {
		case "/known":
			w.Header().Del("Trailer")
			w.Header().Set("Content-Length", "5")
		case "/false":
			w.Header().Add(useField, "9 /another")
		}
		w.WriteHeader(201)
		_, _ = io.WriteString(w, "hello")
		w.Header().Set(useField, "1 /trailer")
	})
	for path, want := range map[string]store.Usage{
		"/known":  {Route: "/items/{id}", CPU: 1500 * time.Microsecond},
		"/stream": {Route: "/items/{id}", CPU: 4500 * time.Microsecond}, // with what the sandbox used after the head
		"/false":  {CPU: 3 * time.Millisecond},
	} {
		got := d.do(d.request("GET", "/run/private"+path, nil))
		if got.Header[useField] != nil || got.Trailer[useField] != nil {
			t.Errorf("%s: the consumer gets %v %v", path, got.Header, got.Trailer)
		}
		if u := d.record(); u.Route != want.Route || u.CPU != want.CPU {
			t.Errorf("%s: route %q and %v of CPU time, want %q and %v", path, u.Route, u.CPU, want.Route, want.CPU)
		}
	}
}

// TestTemplatesAfterTheClockWasAhead: a clock that is set back begins a day too.
func TestTemplatesAfterTheClockWasAhead(t *testing.T) {
	var known templates
	for n := range mostTemplates {
		known.known("a", fmt.Sprint("/", n), templateTime.AddDate(1, 0, 0))
	}
	if got := known.known("a", "/new", templateTime); got != "/new" {
		t.Errorf("after the clock was set back: %q", got)
	}
}
