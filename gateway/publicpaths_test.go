package gateway

import (
	"net/http"
	"strings"
	"testing"

	"apibuilder/store"
)

func TestPublicPaths(t *testing.T) {
	d := newDoor(t, Config{}, says())
	d.store.updateAPI("api_private", func(a *store.API) {
		a.Options.PublicPaths = []string{"GET /health", "/hook", "POST /in/*", "GET /static/*", "GET /caf%C3%A9"}
	})
	for line, open := range map[string]bool{
		"GET /health": true, "HEAD /health": true, "GET /health?q=/../x": true, "POST /health": false, "GET /health/": false, "GET /healthy": false,
		"GET /Health": false, "GET /%68ealth": false, "GET //health": false, "GET /./health": false, "GET /hook": true, "DELETE /hook": true,
		"POST /in/": true, "POST /in/a/b": true, "GET /in/a": false, "POST /in": false, "GET /static/a.css": true, "GET /static/": true,
		"GET /static/../admin": false, "GET /static/%2e%2e/admin": false, "GET /static/..%2fadmin": false, "GET /static//admin": false,
		"GET /static/./a": false, "GET /static/..": false, "GET /static/..;/admin": false, "GET /static/a\\..\\b": false, "GET /static/a%00": false,
		"GET /static/...": true, "GET /caf%C3%A9": true, "GET /caf%c3%a9": false, "GET /": false,
	} {
		method, path, _ := strings.Cut(line, " ")
		conn := d.dial()
		conn.send("%s /run/private%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", method, path)
		got := conn.head(method)
		if (got.StatusCode == 200) != open {
			t.Errorf("%s: status %d", line, got.StatusCode)
		}
	}
	d.at("a", "GET /run/private/health", "Connection: Upgrade\r\nUpgrade: websocket\r\n").wantProblem(t, 401, wordMissingKey)
	if got := d.at("a", "GET /run/private/hook", "Upgrade: h2c\r\n"); got.StatusCode != 200 {
		t.Errorf("without a method: %d", got.StatusCode)
	}
	got := d.at("a", "GET /run/private/hook", "X-API-Key: "+testKey+"\r\n")
	if u := d.record(); got.StatusCode != 200 || u.KeyID != "" && u.KeyID != "key_1" {
		t.Errorf("with a key: %d, %+v", got.StatusCode, u)
	}
}

func FuzzPublicPath(f *testing.F) {
	for _, path := range []string{"/static/a", "/static/../a", "/static/%2e./", "/static//", "/static/\\.."} {
		f.Add(path)
	}
	p := newPublicPaths([]string{"/static/*"})[0]
	f.Fuzz(func(t *testing.T, path string) {
		if !p.opens(&http.Request{Method: "GET"}, path) {
			return
		}
		path, _, _ = strings.Cut(path, "?")
		if !strings.HasPrefix(path, "/static/") || strings.ContainsAny(path, "%\\;") || strings.Contains(path, "//") ||
			strings.Contains(path+"/", "/../") || strings.Contains(path+"/", "/./") {
			t.Errorf("%q is open", path)
		}
	})
}
