package pythonenv

import (
	"net/url"
	"strings"
	"testing"
)

func TestRewritePage(t *testing.T) {
	at, _ := url.Parse("https://index.example/simple/six/")
	local := func(u *url.URL) string { return "LOCAL(" + u.String() + ")" }
	for _, c := range []struct{ kind, page, want string }{
		{"text/html", `<p>x<a class=y href="../../six-1.whl#sha256=ab" data-core-metadata="sha256=cd">six</a>`, "LOCAL(https://index.example/six-1.whl#sha256=ab)"},
		{"text/html; charset=utf-8", `<base href="https://files.example/d/"><A HREF='six.whl'>`, "LOCAL(https://files.example/d/six.whl)"},
		{"application/vnd.pypi.simple.v1+json", `{"meta":{"x":1},"files":[{"url":"/a.whl","hashes":{"sha256":"ab"}}]}`, "LOCAL(https://index.example/a.whl)"},
	} {
		text, err := rewritePage([]byte(c.page), c.kind, at, local)
		if err != nil || !strings.Contains(string(text), c.want) {
			t.Errorf("%s: %s, %v", c.page, text, err)
		}
		if strings.Contains(c.page, "core-metadata") && !strings.Contains(string(text), `data-core-metadata="sha256=cd"`) {
			t.Errorf("an attribute is lost: %s", text)
		}
	}
}

// FuzzRewritePage checks that no address of a page is left that uv could take for a file's.
func FuzzRewritePage(f *testing.F) {
	f.Add("text/html", `<a href="x.whl">`)
	f.Add("text/html", `<base href=//e/><a href='x'><a href=http://y/z.whl>`)
	f.Add("application/json", `{"files":[{"url":"x"}]}`)
	at, _ := url.Parse("https://index.example/simple/six/")
	f.Fuzz(func(t *testing.T, kind, page string) {
		text, err := rewritePage([]byte(page), kind, at, func(*url.URL) string { return "http://127.0.0.1/f/x" })
		if err != nil {
			return
		}
		again, err := rewritePage(text, kind, at, func(u *url.URL) string {
			if u.Host != "127.0.0.1" && kind == "text/html" {
				t.Errorf("%s is left in %q from %q", u, text, page)
			}
			return "x"
		})
		_, _ = again, err
	})
}
