package admin_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestEveryRouteNegotiates is done to each operation of the document.
func TestEveryRouteNegotiates(t *testing.T) {
	f := newFixture(t)
	c, err := published()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range c.paths {
		concrete := strings.NewReplacer("{", "", "}", "").Replace(path)
		var allowed []string
		for method := range item {
			allowed = append(allowed, strings.ToUpper(method))
		}
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"} {
			if slices.Contains(allowed, method) {
				continue
			}
			w := call(t, f.Local(), method, concrete, "")
			wantProblem(t, w, http.StatusMethodNotAllowed, "method_not_allowed")
			for _, m := range append(allowed, "OPTIONS") {
				if !slices.Contains(strings.Split(w.Header().Get("Allow"), ", "), m) {
					t.Errorf("%s %s: allows %q, without %s", method, path, w.Header().Get("Allow"), m)
				}
			}
		}
		w := optionsOf(f, concrete)
		if w.Code != http.StatusNoContent || !strings.Contains(w.Header().Get("Allow"), allowed[0]) || w.Body.Len() > 0 {
			t.Errorf("OPTIONS %s: %d %q %q", path, w.Code, w.Header().Get("Allow"), w.Body)
		}
		for _, method := range allowed {
			wantProblem(t, call(t, f.Local(), method, concrete, "{}", "Accept", "text/html, application/xml;q=0.9"), http.StatusNotAcceptable, "not_acceptable")
			w := call(t, f.Local(), method, concrete+"?no-such-parameter=1", "{}")
			wantProblem(t, w, http.StatusBadRequest, "bad_request")
			operation := item[strings.ToLower(method)].(map[string]any)
			if _, body := operation["requestBody"]; !body {
				continue
			}
			for _, header := range [][2]string{
				{"Content-Type", "text/plain"},
				{"Content-Type", "application/x-www-form-urlencoded"},
				{"Content-Type", "/"},
				{"Content-Type", "application/json; charset=latin1"},
				{"Content-Encoding", "gzip"},
			} {
				w := call(t, f.Local(), method, concrete, "{}", header[0], header[1])
				wantProblem(t, w, http.StatusUnsupportedMediaType, "unsupported_media_type")
			}
			for _, body := range []string{"", "[", `{"no_such_field":1}`, "{} {}", `"text"`} {
				wantProblem(t, call(t, f.Local(), method, concrete, body), http.StatusBadRequest, "bad_request")
			}
			size := 9 << 20
			if path == "/api/v1/deploys" { // it may bring an archive
				size = 60 << 20
			}
			huge := `{"name":"` + strings.Repeat("x", size) + `"}`
			wantProblem(t, call(t, f.Local(), method, concrete, huge), http.StatusRequestEntityTooLarge, "too_large")
		}
	}
}

func TestHead(t *testing.T) {
	f := newFixture(t)
	f.api(t, "hello")
	server := serve(t, f.Local())
	for path, status := range map[string]int{"apis": 200, "apis/hello": 200, "apis/hello/logs?follow=true": 200, "apis/none": 404, "locks": 405} {
		response, err := http.Head(server + "/api/v1/" + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != status || response.Header.Get("Content-Type") == "" {
			t.Errorf("HEAD %s: %d %s", path, response.StatusCode, response.Header)
		}
	}
}

func TestAccept(t *testing.T) {
	f := newFixture(t)
	for accept, status := range map[string]int{
		"": 200, "*/*": 200, "application/*": 200, "application/json": 200, "text/html, application/json;q=0.1": 200,
		"application/json;q=0, */*": 406, "text/*": 406, "nonsense": 406, "application/json;q=x": 406, "*/*;q=0": 406, "text/html, */*;q=0.1": 200,
	} {
		if w := call(t, f.Local(), "GET", "/api/v1/apis", "", "Accept", accept); w.Code != status {
			t.Errorf("Accept: %s: %d, want %d", accept, w.Code, status)
		}
	}
}

// TestPathsAreTakenAsTheyAre has nothing redirected: an answer for another path would be none of the document's.
func TestPathsAreTakenAsTheyAre(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"//api/v1/apis", "/api/v1//apis", "/api/v1/./apis", "/api/v1/x/../apis", "/api/v1/apis/", "/", "/api/v1/apis/%2E%2E/keys/"} {
		wantProblem(t, call(t, f.Local(), "GET", path, ""), http.StatusNotFound, "not_found")
	}
}
