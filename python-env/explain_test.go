package pythonenv

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// TestFailuresAreExplained has the real uv fail on an index that the test serves.
func TestFailuresAreExplained(t *testing.T) {
	linux := map[string]string{"amd64": "manylinux_2_17_x86_64", "arm64": "manylinux_2_17_aarch64"}[runtime.GOARCH]
	index := serveIndex(t,
		packaged{name: "six", version: "1.0"}, packaged{name: "six", version: "1.1"},
		packaged{name: "base", version: "1.0"}, packaged{name: "base", version: "2.0"},
		packaged{name: "older", version: "1.0", requires: []string{"base<2"}},
		packaged{name: "newer", version: "1.0", requires: []string{"base>=2"}},
		packaged{name: "needy", version: "1.0", requires: []string{"reqeusts"}},
		packaged{name: "binary", version: "9.0", tag: "cp310-cp310-" + linux},
		packaged{name: "binary", version: "9.0", tag: "sdist"},
		packaged{name: "elder", version: "1.0", tag: "cp34-cp34m-" + linux},
		packaged{name: "windows", version: "1.0", tag: "py3-none-win_amd64"},
		packaged{name: "source", version: "1.0", tag: "sdist"},
		packaged{name: "psycopg2", version: "2.9", tag: "sdist"},
		packaged{name: "sklearn", version: "0.0", tag: "sdist"},
		packaged{name: "uuid", version: "1.30", tag: "sdist"},
		packaged{name: "future", version: "1.0", requiresPython: ">=3.99"},
		packaged{name: "later", version: "1.0", requiresPython: ">=3.12"},
		packaged{name: "forged", version: "1.0", announced: strings.Repeat("ab", 32)},
	)
	b := builderFor(t, index.URL+"/simple", nil)
	for _, c := range []struct {
		requirements, reason string
		line                 int
		message, remedy      string
	}{
		{"older\n\nnewer==1.0", ReasonConflict, 0, "line 1 (`older`) and line 3 (`newer==1.0`) contradict each other", "loosen"},
		{"six==1.0\nsix==1.1", ReasonConflict, 0, "line 1 (`six==1.0`) and line 2 (`six==1.1`)", "loosen"},
		{"base==1.0\nnewer", ReasonConflict, 0, "base>=2", "loosen"},
		{"six\nreqeusts", ReasonNotFound, 2, "no package reqeusts", "did you mean `requests`"},
		{"PIL", ReasonNotFound, 1, "no package pil", "`pillow`"},
		{"sqlite3", ReasonNotFound, 1, "no package sqlite3", "standard library"},
		{"json", ReasonNotFound, 1, "no package json", "standard library"},
		{"six\npsycopg2", ReasonNoWheel, 2, "psycopg2 has no wheel", "did you mean `psycopg2-binary`?"},
		{"sklearn", ReasonNoWheel, 1, "sklearn has no wheel", "did you mean `scikit-learn`?"},
		{"uuid", ReasonNoWheel, 1, "uuid has no wheel", "standard library"},
		{"needy", ReasonNotFound, 1, "no package reqeusts", "needs it"},
		{"\nsix==99", ReasonNotFound, 2, "six", "the newest that will do is 1.1"},
		{"binary==9.0", ReasonNoWheel, 1, "binary has no wheel for Python 3.11", "Python 3.10 would do"},
		{"elder", ReasonNoWheel, 1, "elder has no wheel", "another"},
		{"windows", ReasonNoWheel, 1, "win_amd64", "another package"},
		{"source", ReasonNoWheel, 1, "source has no wheel", "another"},
		{"future", ReasonNoWheel, 1, "future 1.0 needs Python >=3.99, and this is 3.11", "another version"},
		{"later", ReasonNoWheel, 1, "later 1.0 needs Python >=3.12", "Python 3.12 would do"},
		{"forged", ReasonHashMismatch, 0, "forged", "tell the operator"},
		{"six==1.1 --hash=" + sum, ReasonHashMismatch, 1, "six 1.1", "correct the hash"},
	} {
		_, err := b.Ensure(t.Context(), Request{Requirements: c.requirements, Python: systemMinor(t, b)})
		var e *BuildError
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", c.requirements, err)
			continue
		}
		if e.Reason != c.reason || e.Line != c.line || !strings.Contains(e.Message, c.message) || !strings.Contains(e.Remedy, c.remedy) ||
			strings.Contains(e.Message, "\n") {
			t.Errorf("%q: %s at line %d: %s: %s\n%s", c.requirements, e.Reason, e.Line, e.Message, e.Remedy, e.Output)
		}
	}
	noneLeft(t, b)
}

func TestAnIndexThatFails(t *testing.T) {
	answer := func(status int) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(s.Close)
		return s
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, c := range map[string]struct{ url, message string }{
		"closed": {gone.URL, "does not answer"}, "503": {answer(503).URL, "does not answer"}, "401": {answer(401).URL, "credentials"},
		"403": {answer(403).URL, "credentials"}, "no names": {"http://index.invalid", "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			b := builderFor(t, c.url+"/simple", func(cfg *Config) { fakeUV(t, cfg, "export UV_HTTP_RETRIES=0") })
			_, err := b.Ensure(t.Context(), Request{Requirements: "six"})
			var e *BuildError
			if !errors.As(err, &e) || e.Reason != ReasonUnreachable || !strings.Contains(e.Message, c.message) || e.Output == "" {
				t.Errorf("%v\n%+v", err, e)
			}
		})
	}
}
