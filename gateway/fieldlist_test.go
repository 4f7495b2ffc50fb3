package gateway

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// newFields makes a list of a name, a value, ...
func newFields(fields ...string) *fieldList {
	var l fieldList
	for pair := range slices.Chunk(fields, 2) {
		l.add(pair[0], pair[1])
	}
	return &l
}

func (l *fieldList) String() string {
	var b strings.Builder
	for _, f := range l.list {
		fmt.Fprintf(&b, "%s=%s;", f.name, f.value)
	}
	return b.String()
}

func TestFieldList(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*fieldList)
		want   string
	}{
		{"nothing", func(*fieldList) {}, "A=1;B=2;A=3;C=4;A=5;"},
		{"add", func(l *fieldList) { l.add("B", "6") }, "A=1;B=2;A=3;C=4;A=5;B=6;"},
		{"set what is there often", func(l *fieldList) { l.set("A", "6") }, "A=6;B=2;C=4;"},
		{"set what is there once", func(l *fieldList) { l.set("C", "6") }, "A=1;B=2;A=3;C=6;A=5;"},
		{"set what is not there", func(l *fieldList) { l.set("D", "6") }, "A=1;B=2;A=3;C=4;A=5;D=6;"},
		{"remove", func(l *fieldList) { l.remove("A") }, "B=2;C=4;"},
		{"remove what is not there", func(l *fieldList) { l.remove("D") }, "A=1;B=2;A=3;C=4;A=5;"},
		{"remove the last", func(l *fieldList) { l.removeAll(func(name string) bool { return name != "B" }) }, "B=2;"},
		{"clear", func(l *fieldList) { l.clear() }, ""},
		{"clear and add", func(l *fieldList) { l.clear(); l.add("B", "6") }, "B=6;"},
	} {
		l := newFields("A", "1", "B", "2", "A", "3", "C", "4", "A", "5")
		c.change(l)
		if got := l.String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	l := newFields("A", "1", "B", "", "A", "3")
	if first, n := l.count("A"); first != "1" || n != 2 || l.get("B") != "" || !l.has("B") || l.has("C") || l.values("C") != nil {
		t.Errorf("%s: %q %d", l, first, n)
	}
}

// More fields than there is room for are fields like others.
func TestFieldListOfMany(t *testing.T) {
	var l fieldList
	var want []string
	for i := range 3 * len(l.room) {
		l.add("A", fmt.Sprint(i))
		want = append(want, fmt.Sprint(i))
	}
	h := http.Header{}
	l.addTo(h)
	if !slices.Equal(l.values("A"), want) || !slices.Equal(h["A"], want) {
		t.Errorf("%s", &l)
	}
}

func TestParseFields(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		"content-type: a\r\n":            "Content-Type=a;",
		"B:2\r\nA: 1\r\nb:\t3 \r\n":      "B=2;A=1;B=3;",
		"x-APIbuilder-uSe:\r\n":          "X-Apibuilder-Use=;",
		"a: b: c\r\n":                    "A=b: c;",
		"etag: \xff\r\n":                 "Etag=\xff;",
		"3-x_y.z: 1\r\n":                 "3-X_y.z=1;",
		": 1\r\n":                        "malformed",
		"a\r\n":                          "malformed",
		"a b: 1\r\n":                     "malformed",
		"a : 1\r\n":                      "malformed",
		"a: 1\r\n b\r\n":                 "malformed",
		"a: 1\r\n\r\nb: 1\r\n":           "malformed",
		"a: 1\nb: 1\r\n":                 "malformed",
		"a: 1\x00\r\n":                   "malformed",
		"a\r\n: 1\r\n":                   "malformed",
		"\xff: 1\r\n":                    "malformed",
		strings.Repeat("a: 1\r\n", 1000): strings.Repeat("A=1;", 1000),
		strings.Repeat("a: 1\r\n", 1001): "malformed",
	} {
		var l fieldList
		got := "malformed"
		if err := l.parse([]byte(text)); err == nil {
			got = l.String()
		}
		if got != want {
			t.Errorf("%.80q: %.80s, want %.80s", text, got, want)
		}
	}
}

// FuzzParseFields: whatever a program says, what a consumer gets of it is the same again.
func FuzzParseFields(f *testing.F) {
	f.Add([]byte("content-type: a\r\nb:\t3 \r\n"))
	f.Add([]byte("a: 1\r\n\r\n"))
	f.Add([]byte("a: 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var l, again fieldList
		if l.parse(slices.Clone(text)) != nil {
			return
		}
		for _, f := range l.list {
			if f.name != http.CanonicalHeaderKey(f.name) {
				t.Fatalf("%q is not canonical", f.name)
			}
		}
		if err := again.parse(l.appendTo(nil)); err != nil || !slices.Equal(l.list, again.list) {
			t.Fatalf("%q: %v, then %v, %v", text, l.list, again.list, err)
		}
	})
}

// The next answer, which may be another API's, must not find anything in the memory that it takes over.
func TestHeadIsForgotten(t *testing.T) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	a := newAnswer(nil, nil, r)
	head := a.head
	for range len(head.room) {
		head.add("Set-Cookie", "secret")
	}
	head.checks[0].Key = "key"
	head.limits.Allowed = true
	a.dropHead()
	a.dropHead() // there is none
	if a.head != nil || !reflect.ValueOf(*head).IsZero() {
		t.Errorf("%+v is left", head)
	}
}
