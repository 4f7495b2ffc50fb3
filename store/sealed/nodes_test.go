package sealed

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"apibuilder/store"
)

// TestRotationOverNodes goes the way of the documentation with two nodes on one store: at no step does either have what it cannot open.
func TestRotationOverNodes(t *testing.T) {
	open := below(t, "sqlite")
	first, second := filepath.Join(t.TempDir(), "a.key"), filepath.Join(t.TempDir(), "b.key")
	a := openLayer(t, open(), first)
	addVersion(t, a, "api_1", secrets)
	toSecond := func() {
		t.Helper()
		raw, err := os.ReadFile(first)
		if err == nil {
			err = os.WriteFile(second+".new", raw, 0o600)
		}
		if err == nil {
			err = os.Rename(second+".new", second)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	toSecond()
	b := openLayer(t, open(), second)
	number := 1
	both := func(step string) {
		t.Helper()
		for _, one := range []*Store{a, b} {
			v, err := one.AddVersion(t.Context(), store.Version{APIID: "api_1", Env: secrets})
			if err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			number = v.Number
		}
		for _, one := range []*Store{a, b} {
			if n := wantAllOpen(t, one, "api_1"); n != number || t.Failed() {
				t.Fatalf("%s: %d versions", step, n)
			}
			wantEnv(t, one, "api_1", secrets)
		}
	}
	both("at first")

	if err := a.Prepare(); err != nil {
		t.Fatal(err)
	}
	old, prepared := a.KeyNames()
	if err := a.Prepare(); err != nil { // again
		t.Fatal(err)
	}
	if again, next := a.KeyNames(); prepared == "" || next != prepared || !slices.Equal(again, old) || len(old) != 2 || old[1] != prepared {
		t.Fatalf("prepared %q, then %q; keys %v, then %v", prepared, next, old, again)
	}
	both("prepared")
	if theirs, _ := b.KeyNames(); slices.Contains(theirs, prepared) {
		t.Fatal("the second node has a key that nobody gave it")
	}
	toSecond()
	if theirs, next := b.KeyNames(); !slices.Equal(theirs, old) || next != prepared { // it notices by itself
		t.Fatalf("the second node has %v", theirs)
	}
	both("copied")

	if n, err := a.Rotate(t.Context(), true, false); err != nil || n != number {
		t.Fatalf("%d of %d, %v", n, number, err)
	}
	if now, next := a.KeyNames(); now[0] != prepared || next != "" || len(now) != 2 {
		t.Fatalf("after it %v, %q", now, next)
	}
	both("rotated") // the second node still seals for the old one
	toSecond()
	both("copied again")
	if theirs, _ := b.KeyNames(); theirs[0] != prepared {
		t.Fatalf("the second node seals for %v", theirs)
	}
	if _, err := a.Rotate(t.Context(), false, true); err != nil {
		t.Fatal(err)
	}
	both("dropped on one")
	toSecond()
	both("dropped on both")
	if theirs, _ := b.KeyNames(); len(theirs) != 1 {
		t.Fatalf("the second node has %v", theirs)
	}
}

// A file that is half copied changes nothing.
func TestAFileThatIsNoKeyFileIsNotTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.key")
	s := openLayer(t, below(t, "sqlite")(), path)
	before, _ := s.KeyNames()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "# only a comment\n", string(whole[:len(whole)-5])} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if now, _ := s.KeyNames(); !slices.Equal(now, before) {
			t.Errorf("%q: %v", text, now)
		}
	}
	addVersion(t, s, "api_1", secrets)
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	wantEnv(t, s, "api_1", secrets)
}

func FuzzParseKeys(f *testing.F) {
	const key = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33"
	f.Add("# a comment\n\n" + key + "\n")
	f.Add(key + "\n" + nextMark + "\n" + key + "\n")
	f.Add(nextMark + "\n" + key)
	f.Fuzz(func(t *testing.T, text string) {
		keys, next, err := parseKeys(strings.NewReader(text))
		if err != nil {
			if strings.Contains(err.Error(), "AGE-SECRET-KEY-1G") {
				t.Errorf("%v tells a key", err)
			}
			return
		}
		if len(keys) == 0 || next != nil && (!slices.Contains(keys, next) || next == keys[0]) {
			t.Errorf("%d keys", len(keys))
		}
	})
}
