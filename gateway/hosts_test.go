package gateway

import (
	"context"
	"errors"
	"strings"
	"testing"

	"apibuilder/store"
)

func parsedHosts(t testing.TB, text string) Hosts {
	t.Helper()
	h, err := ParseHosts(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func hostsConfig(t testing.TB) Config {
	return Config{
		AppsDomain: "apps.example.com", PublicHost: "api.example.com",
		MappedHosts: parsedHosts(t, "api.customer.com, *.example.com,other.customer.com"),
	}
}

// at asks for a target at a host and returns what came.
func (d *door) at(host, line, fields string) got {
	d.t.Helper()
	conn := d.dial()
	conn.send("%s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n", line, host, fields)
	return conn.answer("GET")
}

func TestHostsOfAPIs(t *testing.T) {
	d := newRawDoor(t, hostsConfig(t), echoHead)
	d.store.updateAPI("api_public", func(a *store.API) { a.Options.Host = "api.customer.com" })
	for _, c := range []struct{ host, target, line, prefix string }{
		{"public.apps.example.com", "/x%2fy?q=1", "GET /x%2fy?q=1 HTTP/1.1", "/"},
		{"PUBLIC.apps.example.com.:8080", "/", "GET / HTTP/1.1", "/"},
		{"public.apps.example.com", "/healthz", "GET /healthz HTTP/1.1", "/"},
		{"public.apps.example.com", "/readyz", "GET /readyz HTTP/1.1", "/"},
		{"public.apps.example.com", "/run/private/", "GET /run/private/ HTTP/1.1", "/"},
		{"public.apps.example.com", "http://public.apps.example.com/abs", "GET /abs HTTP/1.1", "/"},
		{"wrong.example", "http://public.apps.example.com/abs", "GET /abs HTTP/1.1", "/"},
		{"wrong.example", "http://public.apps.example.com", "GET / HTTP/1.1", "/"},
		{"wrong.example", "http://public.apps.example.com?q=/x", "GET /?q=/x HTTP/1.1", "/"},
		{"api.customer.com", "/healthz", "GET /healthz HTTP/1.1", "/"},
		{"api.example.com", "/run/public/a", "GET /a HTTP/1.1", "/run/public"},
		{"api.example.com", "/run/api_public/a", "GET /a HTTP/1.1", "/run/api_public"},
		{"apps.example.com.evil.com", "/run/public/a", "GET /a HTTP/1.1", "/run/public"},
		{d.addr, "/run/public/a", "GET /a HTTP/1.1", "/run/public"},
	} {
		got := d.at(c.host, "GET "+c.target, "")
		if prefix := fieldsOf(got.text, "X-Forwarded-Prefix"); !strings.HasPrefix(got.text, c.line+"\r\n") || len(prefix) != 1 || prefix[0] != c.prefix {
			t.Errorf("%s%s: %d, the program got %q", c.host, c.target, got.StatusCode, got.text)
		}
	}
	d.at("private.apps.example.com", "GET /", "").wantProblem(t, 401, wordMissingKey)
	if got := d.at("private.apps.example.com", "GET /", "X-API-Key: "+testKey+"\r\n"); got.StatusCode != 200 {
		t.Errorf("with a key: %d", got.StatusCode)
	}
	d.at("nobody.apps.example.com", "GET /healthz", "").wantProblem(t, 404, wordUnknownAPI)
	for _, host := range []string{"a.b.apps.example.com", "api_public.apps.example.com", "-.apps.example.com", "other.customer.com", "new.example.com", "apps.example.com"} {
		d.at(host, "GET /healthz", "").wantProblem(t, 404, wordNotFound)
	}
	d.at("public.apps.example.com", "OPTIONS *", "").wantProblem(t, 404, wordNotFound)
	if got := d.at("api.example.com", "GET /healthz", ""); got.StatusCode != 200 {
		t.Errorf("the gateway's own name: %d", got.StatusCode)
	}
}

// TestMappedHostsFollow shows that a change of a host is known at once, and what counts while the store is away.
func TestMappedHostsFollow(t *testing.T) {
	d := newRawDoor(t, hostsConfig(t), echoHead)
	d.at("api.customer.com", "GET /", "").wantProblem(t, 404, wordNotFound)
	d.store.updateAPI("api_public", func(a *store.API) { a.Options.Host = "api.customer.com" })
	if got := d.at("api.customer.com", "GET /", ""); got.StatusCode != 200 {
		t.Fatalf("mapped: %d", got.StatusCode)
	}
	before := d.store.count()
	for _, host := range []string{"api.customer.com", "made-up-1.example.com", "made-up-2.example.com", "other.customer.com"} {
		d.at(host, "GET /", "")
	}
	if n := d.store.count() - before; n != 0 {
		t.Errorf("%d reads for names in the table", n)
	}
	d.store.updateAPI("api_public", func(a *store.API) { a.Options.Host = "unlisted.customer.org" })
	d.at("api.customer.com", "GET /", "").wantProblem(t, 404, wordNotFound)
	if got := d.at("unlisted.customer.org", "GET /healthz", ""); got.text != "ok\n" {
		t.Errorf("a name that the operator has not listed: %d %q", got.StatusCode, got.text)
	}
	d.store.updateAPI("api_public", func(a *store.API) { a.Options.Host = "api.customer.com" })
	d.at("api.customer.com", "GET /", "")
	d.store.change(func() store.Change {
		d.store.err = errors.New("away")
		return store.Change{} // of a plan
	})
	if got := d.at("api.customer.com", "GET /", ""); got.StatusCode != 200 {
		t.Errorf("while the store is away: %d %s", got.StatusCode, got.text)
	}
}

func TestMappedHostsWithoutAStore(t *testing.T) {
	d := newRawDoor(t, hostsConfig(t), echoHead)
	d.store.change(func() store.Change {
		d.store.err = errors.New("away")
		return store.Change{}
	})
	d.at("api.customer.com", "GET /", "").wantProblem(t, 503, wordStoreUnavailable)
	if got := d.at("api.example.com", "GET /healthz", ""); got.StatusCode != 200 {
		t.Errorf("status %d", got.StatusCode)
	}
}

func TestKnowsHost(t *testing.T) {
	d := newRawDoor(t, hostsConfig(t), echoHead)
	d.store.updateAPI("api_public", func(a *store.API) { a.Options.Host = "api.customer.com" })
	for name, known := range map[string]bool{
		"api.example.com": true, "public.apps.example.com": true, "api.customer.com": true,
		"": false, "other.customer.com": false, "nobody.apps.example.com": false, "apps.example.com": false, "localhost": false,
	} {
		err := d.gateway.KnowsHost(context.Background(), name)
		if (err == nil) != known {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestParseHosts(t *testing.T) {
	h := parsedHosts(t, "A.example, *.b.example")
	for name, want := range map[string]bool{"a.example": true, "x.a.example": false, "b.example": false, "x.b.example": true, "x.y.b.example": true, "xb.example": false} {
		if h.Has(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	of := parsedHosts(t, "*.b.example, a.example=anna, x.b.example = bert, *.c.b.example=user_1")
	for name, want := range map[string]string{"a.example": "anna", "x.b.example": "bert", "y.b.example": "", "c.b.example": "", "d.c.b.example": "user_1"} {
		if user, listed := of.Owner(name); user != want || !listed {
			t.Errorf("%s is for %q, %v", name, user, listed)
		}
	}
	for _, text := range []string{
		"a.example=", "a.example= ", "a.example=b=c", "=anna", "*", "localhost", "1.2.3.4", "a.example:80", "*.*.example", "a_b.example", "*.com x", "::1", "a.example=anna,A.example",
		"*.b.example,*.b.example=bert",
	} {
		if _, err := ParseHosts(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
