package cli

import (
	"os"
	"path/filepath"
	"testing"

	"apibuilder/sandbox"
)

func TestCallFlagsBelongToTheRequestBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(path, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	var c callFlags
	for _, err := range []error{
		c.addRequest("POST /a?x=1"), c.setData("text"), c.addHeader("A: 1"), c.addHeader("a:2"),
		c.addRequest("PUT /b"), c.setData("@" + path),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	a, b := c.calls[0], c.calls[1]
	if a.method != "POST" || a.path != "/a?x=1" || string(a.body) != "text" || len(a.header["A"]) != 2 || string(b.body) != "from a file" {
		t.Fatalf("%+v", c.calls)
	}
	for _, text := range []string{"", "GET", "GET ", "GET x", "G\nT /", "GET /a b", "GET /\r\nX: y", "/x"} {
		if c.addRequest(text) == nil {
			t.Errorf("request %q is taken", text)
		}
	}
	for _, text := range []string{"", "A", ": x", "A B: x", "A: x\r\nB: y"} {
		if c.addHeader(text) == nil {
			t.Errorf("header %q is taken", text)
		}
	}
}

func TestCallsOfRoutes(t *testing.T) {
	calls := callsOf([]sandbox.Route{
		{Path: "/", Methods: []string{"HEAD", "GET"}},
		{Path: "/post", Methods: []string{"POST"}},
		{Path: "/input", Methods: []string{"GET"}, NeedsInput: true},
		{Path: "/head", Methods: []string{"HEAD", "OPTIONS"}},
		{Path: "/socket"},
		{Path: "no/path", Methods: []string{"GET"}},
		{Path: "", Methods: []string{"GET"}},
		{Path: "/\x7f bad", Methods: []string{"GET"}},
		{Path: "/ok", Methods: []string{"G T"}},
	})
	if len(calls) != 2 || calls[0].method != "GET" || calls[1].path != "/post" {
		t.Fatalf("%+v", calls)
	}
	many := make([]sandbox.Route, 10000)
	for i := range many {
		many[i] = sandbox.Route{Path: "/", Methods: []string{"GET"}}
	}
	if n := len(callsOf(many)); n != maxTrialCalls {
		t.Fatalf("%d requests", n)
	}
}

// A killed trial leaves its place, which the next one takes and cleans; a running one keeps it.
func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	first, freeFirst, err := takePlace(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, freeSecond, err := takePlace(dir)
	if err != nil || second == first {
		t.Fatalf("%q, %q, %v", first, second, err)
	}
	defer freeSecond()
	freeFirst()
	again, freeAgain, err := takePlace(dir)
	if err != nil || again != first {
		t.Fatalf("%q, %q, %v", first, again, err)
	}
	freeAgain()
}
