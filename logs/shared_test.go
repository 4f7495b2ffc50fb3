package logs_test

import (
	"fmt"
	"strings"
	"testing"

	"apibuilder/logs"
)

// TestFollowWhatAnotherProcessWrites follows at the server that takes over what the one before it still writes, over several turns of
// the files by either, and what it writes itself after that has ended.
func TestFollowWhatAnotherProcessWrites(t *testing.T) {
	dir := t.TempDir()
	limits := logs.Limits{Size: logs.LeastSize}
	before, b := logs.New(logs.Config{Dir: dir, Limits: limits}), logs.New(logs.Config{Dir: dir, Limits: limits})
	b.Share()
	appendAll(t, before, "there")
	tail, f := follow(t, b, logs.Filter{}, 10)
	if texts(tail) != "there" {
		t.Fatalf("%q", texts(tail))
	}
	const lines = 500
	padding := strings.Repeat("x", 400)
	for n := range lines { // more than either file holds
		for name, book := range map[string]*logs.Book{"before": before, "after": b} {
			if err := book.Append(api, logs.Line{Stream: "stdout", Text: fmt.Sprintf("%s %d %s", name, n, padding)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	seen := map[string]int{}
	for range 2 * lines {
		text := strings.TrimSuffix(next(t, f), " "+padding)
		name, _, _ := strings.Cut(text, " ")
		if want := fmt.Sprintf("%s %d", name, seen[name]); text != want {
			t.Fatalf("%q, want %q", text, want)
		}
		seen[name]++
	}
	appendAll(t, before, "the last")
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	b.Own()
	b.Own()
	appendAll(t, b, "alone")
	if x, y := next(t, f), next(t, f); x != "the last" || y != "alone" {
		t.Errorf("%q %q", x, y)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, more := f.Next(t.Context()); more {
		t.Error("a line after the end")
	}
}

// TestAFollowerOfASharedLogThatIsRewritten gets nothing twice, and ends with it.
func TestAFollowerOfASharedLogThatIsRewritten(t *testing.T) {
	b := logs.New(logs.Config{Dir: t.TempDir()})
	defer b.Close()
	b.Share()
	_, f := follow(t, b, logs.Filter{}, 10)
	appendAll(t, b, "a", "b")
	if x, y := next(t, f), next(t, f); x != "a" || y != "b" {
		t.Fatalf("%q %q", x, y)
	}
	if err := b.Remove(api); err != nil {
		t.Fatal(err)
	}
	if l, more := f.Next(t.Context()); more {
		t.Errorf("%+v", l)
	}
}
