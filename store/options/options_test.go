package options

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"apibuilder/internal/pagetest"
	"apibuilder/store"
)

func TestApplySetsAndTakesBack(t *testing.T) {
	o, err := Apply(store.Options{}, map[string]string{"request-timeout": " 90s "})
	if err != nil || o.RequestTimeout != 90*time.Second {
		t.Fatalf("Apply: %+v, %v", o, err)
	}
	if texts := Texts(o); len(texts) != 1 || texts["request-timeout"] != "1m30s" {
		t.Errorf("Texts: %v", texts)
	}
	if o, err = Apply(o, map[string]string{"request-timeout": ""}); err != nil || Texts(o) != nil {
		t.Errorf("after it was taken back: %v, %v", Texts(o), err)
	}
}

func TestApplyRefuses(t *testing.T) {
	before := store.Options{RequestTimeout: time.Second}
	for name, text := range map[string]string{"request-timeout": "soon", "reqest-timeout": "1s"} {
		after, err := Apply(before, map[string]string{name: text})
		var refused *Error
		if !errors.As(err, &refused) || refused.Name != name || refused.Remedy == "" {
			t.Errorf("%s=%s: %v", name, text, err)
		}
		if Texts(after)["request-timeout"] != "1s" {
			t.Errorf("%s=%s changed %v", name, text, Texts(after))
		}
	}
}

// TestEveryOption checks what no option may lack.
func TestEveryOption(t *testing.T) {
	validName := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	for _, p := range All() {
		if !validName.MatchString(p.Name) || p.Value == "" || p.Default == "" || p.Usage == "" || strings.HasSuffix(p.Usage, ".") {
			t.Errorf("%+v is not complete", p)
		}
		if p.get(store.Options{}) != "" {
			t.Errorf("%s is set where nothing is", p.Name)
		}
		if _, err := Apply(store.Options{}, map[string]string{p.Name: "\x00 no value of any option"}); err == nil {
			t.Errorf("%s takes anything", p.Name)
		}
	}
}

// TestDocumentation keeps docs/options.md; run it with -update after a change of the table.
func TestDocumentation(t *testing.T) {
	pagetest.EndsWith(t, "../../docs/options.md", "| option |", markdown())
}

func TestOptionsOfTheEdge(t *testing.T) {
	for name, texts := range map[string]map[string]string{ // what is read, and how it is told; empty: refused
		"host": {
			"API.Customer.com": "api.customer.com", "a": "", "1.2.3.4": "", "a.b:80": "", "https://a.b": "", "*.a.b": "", "a_b.c": "", "a..b": "",
		},
		"public-paths": {
			"/a, GET /b,/a": "/a, GET /b", "/static/*": "/static/*", "/*": "/*", "a": "", "get /a": "", "/a?b": "", "/a*b": "", "/a b": "",
			"/a/../*": "", "/%61/*": "", "/a//*": "", "/a#b": "", "*": "",
		},
		"cors-origins": {
			"https://a.example, http://localhost:3000": "https://a.example, http://localhost:3000", "*": "*", "null": "null", "https://a.example,null": "https://a.example, null",
			"NULL": "", "a.example": "", "https://a.example/": "", "https://A.example": "", "https://u@a.example/x": "",
		},
		"cors-methods":     {"get, POST": "GET, POST", "*": "", "a b": ""},
		"cors-headers":     {"x-api-key,Content-Type": "X-Api-Key, Content-Type", "*": "", "a:b": ""},
		"cors-credentials": {"true": "true", "false": "", "yes": ""},
		"cors-max-age":     {"10m": "10m0s", "1ms": "", "48h": ""},
	} {
		for text, want := range texts {
			o, err := Apply(store.Options{}, map[string]string{name: text})
			if got := Texts(o)[name]; got != want || (err != nil) != (want == "" && text != "false") {
				t.Errorf("%s=%s: %q, %v", name, text, got, err)
			}
		}
	}
}

func TestOptionsOfRequests(t *testing.T) {
	for name, texts := range map[string]map[string]string{ // as above
		"drain-timeout": {"90s": "1m30s", "1h": "1h0m0s", "0s": "", "2h": "", "10": ""},
		"max-header":    {"8k": "8K", "128": "128", "127": "", "0": "", "-1K": "", "x": ""},
		"max-url":       {"2K": "2K", "64": "", "1.5K": ""},
	} {
		for text, want := range texts {
			o, err := Apply(store.Options{}, map[string]string{name: text})
			if got := Texts(o)[name]; got != want || (err != nil) != (want == "") {
				t.Errorf("%s=%s: %q, %v", name, text, got, err)
			}
		}
	}
}

func TestCredentialsNeedOriginsByName(t *testing.T) {
	for _, origins := range []string{"*", "null", "https://a.example, null"} {
		_, err := Apply(store.Options{}, map[string]string{"cors-origins": origins, "cors-credentials": "true"})
		var refused *Error
		if !errors.As(err, &refused) || refused.Name != "cors-credentials" {
			t.Errorf("%s: error %v", origins, err)
		}
	}
}

// markdown is the table of all settings, as docs/options.md has it.
func markdown() string {
	var b strings.Builder
	b.WriteString("| option | value | default | |\n|---|---|---|---|\n")
	for _, p := range All() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", p.Name, p.Value, p.Default, p.Usage)
	}
	return b.String()
}

// TestTextsAreBounded: they are kept for each API, in memory too, and an author may send any number of megabytes of them.
func TestTextsAreBounded(t *testing.T) {
	var paths strings.Builder
	for n := range 200_000 {
		fmt.Fprintf(&paths, "/%d,", n)
	}
	long := "/" + strings.Repeat("a", 1<<20)
	began := time.Now()
	for name, text := range map[string]string{
		"public-paths": paths.String() + "/", "cors-headers": strings.Repeat("a", 1<<20), "health-path": long, "sdists": strings.Repeat("a,", 1<<20) + "a",
		"egress": strings.Repeat("a.example:443,", 1<<17) + "a.example:443", long: "1",
	} {
		_, err := Apply(store.Options{}, map[string]string{name: text})
		var refused *Error
		if !errors.As(err, &refused) || len(refused.Error()) > 4<<10 {
			t.Errorf("%.20s with %d bytes: an error of %d bytes", name, len(text), len(fmt.Sprint(err)))
		}
	}
	_, err := Apply(store.Options{}, map[string]string{"public-paths": long})
	if err == nil || !strings.Contains(err.Error(), "16384") {
		t.Errorf("%.100v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("to refuse them took %v", took)
	}
	var fifty []string
	for n := range mostMembers {
		fifty = append(fifty, fmt.Sprintf("/%d/%s", n, strings.Repeat("a", 300)))
	}
	o, err := Apply(store.Options{}, map[string]string{"public-paths": strings.Join(fifty, ",")})
	if err != nil || len(o.PublicPaths) != mostMembers {
		t.Errorf("%d paths, %v", len(o.PublicPaths), err)
	}
	if _, err := Apply(store.Options{}, map[string]string{"public-paths": strings.Join(append(fifty, "/51"), ",")}); err == nil || !strings.Contains(err.Error(), "50") {
		t.Errorf("one more: %v", err)
	}
}
