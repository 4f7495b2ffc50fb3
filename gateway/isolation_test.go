package gateway

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"apibuilder/store"
)

// says is a program that answers with the fields it is given, name and value in turn.
func says(fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		for i := 0; i < len(fields); i += 2 {
			w.Header()[fields[i]] = append(w.Header()[fields[i]], fields[i+1])
		}
		_, _ = io.WriteString(w, "<html>")
	}
}

func TestDocumentsAtTheSharedAddress(t *testing.T) {
	for kind, sandboxed := range map[string]bool{
		"": true, "text/html": true, "text/html; charset=utf-8": true, "application/xhtml+xml": true, "image/svg+xml": true, "text/xml": true,
		"multipart/x-mixed-replace;boundary=a": true, "application/json, text/html": true, "nonsense": true,
		// Of a list, browsers take the last that they can read, whatever parameters there are (Fetch standard, "extract a MIME type").
		"text/plain;a=b, text/html": true, "text/plain;,text/html": true, "application/json; a=\"b\", text/html;": true,
		"text/plain;a=\", text/html": true, "text/html, text/plain": true, "text/plain\u00a0": true, "image/pn\u0261": true,
		"application/json": false, "Text/Plain; charset=utf-8": false, "image/png": false, "text/event-stream; charset=utf-8": false,
	} {
		program := says()
		if kind != "" {
			program = says("Content-Type", kind, "Content-Security-Policy", "default-src 'self'")
		}
		d := newDoor(t, hostsConfig(t), program)
		got := d.get("/run/private/")
		policies := got.Header["Content-Security-Policy"]
		if slices.Contains(policies, sandboxPolicy) != sandboxed || kind != "" && !slices.Contains(policies, "default-src 'self'") {
			t.Errorf("%q: policies %q", kind, policies)
		}
		if got.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q may be guessed at", kind)
		}
		own := d.at("public.apps.example.com", "GET /", "")
		if slices.Contains(own.Header["Content-Security-Policy"], sandboxPolicy) || own.Header.Get("X-Content-Type-Options") != "" {
			t.Errorf("%q at an address of its own: %v", kind, own.Header)
		}
	}
	if strings.Contains(sandboxPolicy, "same-origin") {
		t.Error("that would undo it")
	}
}

func TestWhatSpeaksForTheOrigin(t *testing.T) {
	names := []string{
		"Accept-Ch", "Alt-Svc", "Clear-Site-Data", "Critical-Ch", "Cross-Origin-Opener-Policy", "Nel", "Origin-Agent-Cluster", "Report-To",
		"Sec-Session-Registration", "Secure-Session-Challenge", "Secure-Session-Registration", "Service-Worker-Allowed", "Set-Login",
		"Strict-Transport-Security", "Use-As-Dictionary",
	}
	var fields []string
	for _, name := range names {
		fields = append(fields, name, "x")
	}
	d := newDoor(t, hostsConfig(t), says(fields...))
	got, own := d.get("/run/private/"), d.at("public.apps.example.com", "GET /", "")
	for _, name := range names {
		if got.Header[name] != nil || own.Header[name] == nil {
			t.Errorf("%s: shared %q, own %q", name, got.Header[name], own.Header[name])
		}
	}
}

func TestCookiesAreConfined(t *testing.T) {
	for text, want := range map[string]string{
		"a=1":                              "a=1; Path=/run/public/",
		"a=1; Path=/; HttpOnly":            "a=1; HttpOnly; Path=/run/public/",
		"a=1; path = /admin ;Secure":       "a=1;Secure; Path=/run/public/admin",
		"a=1; Path=/run/public/x":          "a=1; Path=/run/public/x",
		"a=1; Path=/run/public":            "a=1; Path=/run/public/",
		"a=1; Path=/run/publicity":         "a=1; Path=/run/public/run/publicity",
		"a=1; Path=/run/private/":          "a=1; Path=/run/public/run/private/",
		"a=1; Path=/run/public/x; Path=/":  "a=1; Path=/run/public/",
		"a=1; Domain=example.com; PATH=x":  "a=1; Path=/run/public/",
		"a=1; domain=.apps.example.com":    "a=1; Path=/run/public/",
		"a=1; Path=\t/y; SameSite=None":    "a=1; SameSite=None; Path=/run/public/y",
		"a=x/Path=/; Max-Age=1; Expires=,": "a=x/Path=/; Max-Age=1; Expires=,; Path=/run/public/",
	} {
		d := newDoor(t, hostsConfig(t), says("Set-Cookie", text, "Set-Cookie", "b=2"))
		r, _ := http.NewRequest("GET", d.url+"/run/public/a/b", nil)
		if got := d.do(r).Header["Set-Cookie"]; len(got) != 2 || strings.TrimSpace(got[0]) != want || got[1] != "b=2; Path=/run/public/" {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	d := newDoor(t, hostsConfig(t), says("Set-Cookie", "a=1; Domain=apps.example.com; Path=/x"))
	d.store.updateAPI("api_public", func(a *store.API) { a.Options.Host = "api.customer.com" })
	if got := d.at("public.apps.example.com", "GET /", "").Header.Get("Set-Cookie"); got != "a=1; Path=/x" {
		t.Errorf("below the domain of APIs: %q", got)
	}
	if got := d.at("api.customer.com", "GET /", "").Header.Get("Set-Cookie"); got != "a=1; Domain=apps.example.com; Path=/x" {
		t.Errorf("at a name of its own: %q", got)
	}
}

func TestChallengesAreConfined(t *testing.T) {
	d := newDoor(t, Config{}, says("Www-Authenticate", `basic realm="all"`, "Www-Authenticate", `Bearer scope="x"`))
	got := d.get("/run/private/").Header["Www-Authenticate"]
	if len(got) != 2 || got[0] != `Basic realm="/run/private"` || got[1] != `Bearer scope="x"` {
		t.Errorf("challenges %q", got)
	}
}

// Without the slash, what is typed there would be sent to all that is below /run (RFC 7617, 2.2).
func TestNoChallengeReachesBeyondItsAPI(t *testing.T) {
	d := newDoor(t, hostsConfig(t), says("Www-Authenticate", `basic realm="all"`, "Www-Authenticate", `Bearer scope="x"`))
	for target, basic := range map[string]bool{
		"/run/public": false, "/run/public?q=/": false, "http://api.example.com/run/public": false, "http://api.example.com/run/public?a": false,
		"/run/public/": true, "/run/public/?q": true, "http://api.example.com/run/public/x": true,
	} {
		got := d.at("api.example.com", "GET "+target, "").Header["Www-Authenticate"]
		if !slices.Contains(got, `Bearer scope="x"`) || slices.Contains(got, `Basic realm="/run/public"`) != basic || len(got) > 2 {
			t.Errorf("%s: challenges %q", target, got)
		}
	}
	if got := d.at("public.apps.example.com", "GET /", "").Header["Www-Authenticate"]; !slices.Contains(got, `basic realm="all"`) {
		t.Errorf("at an address of its own: challenges %q", got)
	}
}

// The links and forms of a page there would lead to the APIs of others: what is below its directory, /run/.
func TestPagesHaveADirectoryOfTheirOwn(t *testing.T) {
	d := newDoor(t, hostsConfig(t), says("Content-Type", "text/html"))
	const navigates, old = "Sec-Fetch-Mode: navigate\r\n", "Upgrade-Insecure-Requests: 1\r\n"
	for _, c := range []struct{ host, line, fields, location string }{
		{"api.example.com", "GET /run/public", navigates, "/run/public/"},
		{"api.example.com", "GET /run/api_public?a=/b&c", navigates, "/run/api_public/?a=/b&c"},
		{"api.example.com", "HEAD /run/public", navigates, "/run/public/"},
		{"api.example.com", "GET /run/public", old, "/run/public/"},
		{"api.example.com", "GET http://api.example.com/run/public?", navigates, "/run/public/?"},
		{"api.example.com", "GET /run/public", "", ""},
		{"api.example.com", "GET /run/public", "Sec-Fetch-Mode: cors\r\n" + old, ""},
		{"api.example.com", "POST /run/public", navigates, ""},
		{"api.example.com", "GET /run/public/", navigates, ""},
		{"api.example.com", "GET /run/public/a", navigates, ""},
		{"public.apps.example.com", "GET /run/public", navigates, ""},
	} {
		conn := d.dial()
		method, _, _ := strings.Cut(c.line, " ")
		conn.send("%s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n", c.line, c.host, c.fields)
		got := conn.answer(method)
		want := http.StatusOK
		if c.location != "" {
			want = http.StatusTemporaryRedirect
		}
		if got.StatusCode != want || got.Header.Get("Location") != c.location {
			t.Errorf("%s %s with %q: %d to %q, want %q", c.host, c.line, c.fields, got.StatusCode, got.Header.Get("Location"), c.location)
		}
	}
}

// Of these schemes no realm belongs to a path: browsers answer whoever names it again.
func TestChallengesForAWholeServerAreDropped(t *testing.T) {
	challenges := []string{
		`Digest realm="a", nonce="b"`, "negotiate", "NTLM", `Bearer realm="a", DIGEST realm="b"`, "Bearer,\tNegotiate abc", `Bearer realm="digest"`, "Digester",
	}
	var fields []string
	for _, c := range challenges {
		fields = append(fields, "Www-Authenticate", c)
	}
	d := newDoor(t, hostsConfig(t), says(fields...))
	if got := d.at("api.example.com", "GET /run/public/", "").Header["Www-Authenticate"]; !slices.Equal(got, challenges[5:]) {
		t.Errorf("challenges %q", got)
	}
	if got := d.at("public.apps.example.com", "GET /", "").Header["Www-Authenticate"]; !slices.Equal(got, challenges) {
		t.Errorf("at an address of its own: challenges %q", got)
	}
}

func TestServiceWorkers(t *testing.T) {
	d := newDoor(t, hostsConfig(t), says("Content-Type", "text/javascript"))
	d.at("api.example.com", "GET /run/public/sw.js", "Service-Worker: script\r\n").wantProblem(t, 403, wordServiceWorker)
	if got := d.at("public.apps.example.com", "GET /sw.js", "Service-Worker: script\r\n"); got.StatusCode != 200 {
		t.Errorf("at an address of its own: %d", got.StatusCode)
	}
}

// TestPagesInTheirSandbox calls as the interactive documentation does, which is a document whose origin is null.
func TestPagesInTheirSandbox(t *testing.T) {
	d := newDoor(t, hostsConfig(t), says("Content-Type", "application/json", "Set-Cookie", "a=1"))
	ask := "OPTIONS /run/private/items"
	got := d.at("api.example.com", ask, "Origin: null\r\nAccess-Control-Request-Method: DELETE\r\nAccess-Control-Request-Headers: x-api-key\r\n")
	if got.StatusCode != 204 || got.Header.Get("Access-Control-Allow-Origin") != "null" || got.Header.Get("Access-Control-Allow-Methods") != "DELETE" ||
		got.Header.Get("Access-Control-Allow-Headers") != "x-api-key" || got.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("preflight: %d %v", got.StatusCode, got.Header)
	}
	if n := d.sandboxes.asked + d.sandboxes.held; n != 0 {
		t.Error("a sandbox was asked")
	}
	got = d.at("api.example.com", "DELETE /run/private/items", "Origin: null\r\nX-API-Key: "+testKey+"\r\n")
	if got.StatusCode != 200 || got.Header.Get("Access-Control-Allow-Origin") != "null" || got.Header.Get("Vary") != "Origin" {
		t.Errorf("call: %d %v", got.StatusCode, got.Header)
	}
	got = d.at("api.example.com", "GET /run/private/items", "Origin: null\r\n")
	got.wantProblem(t, 401, wordMissingKey)
	if got.Header.Get("Access-Control-Allow-Origin") != "null" {
		t.Errorf("the page cannot read why: %v", got.Header)
	}
	for _, origin := range []string{"https://evil.example", "NULL", ""} {
		got = d.at("api.example.com", "GET /run/public/items", "Origin: "+origin+"\r\n")
		if got.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%q may read", origin)
		}
	}
	if got = d.at("public.apps.example.com", "GET /", "Origin: null\r\n"); got.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("at an address of its own: %v", got.Header)
	}
}

func FuzzCookie(f *testing.F) {
	for _, text := range []string{"a=1; Path=/; Domain=x", "a", ";;path=/run/p;", "a=1;path=/run/p/../x", "a=\"; Path=/\""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !isFieldValue(text) {
			return
		}
		c := parseCookie(text)
		c.confine("/run/p")
		got := parseCookie(c.String())
		if got.domain != "" || !strings.HasPrefix(got.path, "/run/p/") || got.pair != c.pair || fmt.Sprint(got.rest) != fmt.Sprint(c.rest) {
			t.Errorf("%q became %q", text, c)
		}
	})
}
