package store

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestScopes(t *testing.T) {
	for text, paths := range map[string]string{
		"GET /items/*":      "GET /items/1|GET /items/a%20b|GET /items/%C3%A9|GET /items/a.b|GET /items/...|GET /items/a;v=1",
		"* /reports/**":     "GET /reports/|PUT /reports/a|DELETE /reports/a/b/|GET /reports/a/b/c",
		"POST /":            "POST /",
		"GET /a/*/c":        "GET /a/b/c",
		"PROPFIND /a%20b":   "PROPFIND /a%20b",
		"GET /items/":       "GET /items/",
		"* /**":             "GET /|GET /a|PUT /a/b/",
		"GET /Items.json":   "GET /Items.json",
		"VERSION-CONTROL /": "VERSION-CONTROL /",
	} {
		s, err := ParseScope(text)
		if err != nil {
			t.Error(err)
			continue
		}
		for request := range strings.SplitSeq(paths, "|") {
			method, path, _ := strings.Cut(request, " ")
			if !s.Allows(method, path) {
				t.Errorf("%q does not allow %s", text, request)
			}
		}
	}
}

func TestScopesRefuse(t *testing.T) {
	for text, requests := range map[string]string{
		"GET /items/*": "POST /items/1|get /items/1|GET /items|GET /items/|GET /items/1/|GET /items/1/2|GET /items/..|GET /items/.|" +
			"GET /items/%2e%2e|GET /items/%2E.|GET /items/a%2fb|GET /items/a%2Fb|GET /items/a%5cb|GET /items/a\\b|GET /items/%00|" +
			"GET /items/%252e%252e|GET /items/a%|GET /items/a%2|GET /items/%zz|GET /items/a#b|GET /items/a%3fb|GET /items/a%23|" +
			"GET //items/1|GET /./items/1|GET /items//1|GET /%69tems/1|GET /Items/1|GET items/1|GET |GET /items/\xc3\xa9|GET /items/a%0d%0ab|" +
			"GET /items/a b|GET /items/%7f|GET /items/../items/1|GET /admin/../items/1",
		"* /reports/**": "GET /reports|GET /reports/../x|GET /reports/a/../../x|GET /reports//x|GET /reports/a//|GET /reports/%2e%2e/x|" +
			"GET /reports/a/.|GET /reports/..%2fx|GET /reportsx/a",
		"POST /":     "POST|POST /a|GET /",
		"GET /a/*/c": "GET /a//c|GET /a/../c|GET /a/b/d/c|GET /a/b%2Fx/c|GET /a/b/c/",
	} {
		s, err := ParseScope(text)
		if err != nil {
			t.Error(err)
			continue
		}
		for request := range strings.SplitSeq(requests, "|") {
			method, path, _ := strings.Cut(request, " ")
			if s.Allows(method, path) {
				t.Errorf("%q allows %q", text, request)
			}
		}
	}
}

func TestScopesThatAreNone(t *testing.T) {
	for _, text := range []string{
		"", "GET", "/items", "GET items", "get /", "G=T /", "GET /a*", "GET /**/a", "GET /a//b", "GET /../a", "GET /a/.", "GET /a?b",
		"GET /a b", "GET  /a", "GET /%2f", "GET /%", "GET /é", "GET /a\n", strings.Repeat("A", 33) + " /",
	} {
		_, err := ParseScope(text)
		if err == nil || !strings.Contains(err.Error(), `"GET /items/*"`) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzScope looks for a path that a scope allows and that reads as another one once it was decoded and cleaned.
func FuzzScope(f *testing.F) {
	for _, path := range []string{"/items/1", "/items/..%2fadmin", "/items/a%20b", "/items/%252e", "/items/a/", "//", "/items/%c3%a9"} {
		f.Add("GET /items/*", path)
		f.Add("GET /items/**", path)
		f.Add("GET /items/*/x", path)
	}
	f.Fuzz(func(t *testing.T, text, sent string) {
		s, err := ParseScope(text)
		if err != nil || !s.Allows("GET", sent) {
			return
		}
		decoded, err := url.PathUnescape(sent)
		if err != nil {
			t.Fatalf("%q allows %q, which cannot be decoded", text, sent)
		}
		if again, err := url.PathUnescape(decoded); err != nil || again != decoded {
			t.Fatalf("%q allows %q, which can be decoded twice", text, sent)
		}
		clean := path.Clean(decoded)
		if strings.HasSuffix(decoded, "/") && clean != "/" {
			clean += "/"
		}
		if clean != decoded || strings.Count(decoded, "/") != strings.Count(sent, "/") || strings.ContainsAny(decoded, "\\?#\x00") {
			t.Fatalf("%q allows %q, which reads as %q and %q", text, sent, decoded, clean)
		}
	})
}
