package cli

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"apibuilder/logs"
	"apibuilder/sandbox"
)

const testAPI = "api_aaaaaaaaaaaaaaaa"

func TestAnAPIsLogGoesWithIt(t *testing.T) {
	dir := t.TempDir()
	s := sandboxes{sandbox.NewManager(sandbox.ManagerConfig{}), logs.New(dir)}
	if err := s.book.Append(testAPI, logs.Line{Time: time.Now(), Text: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), testAPI); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, testAPI+".jsonl")); !os.IsNotExist(err) {
		t.Fatalf("error %v", err)
	}
}

func TestFollowEndsItsGoroutine(t *testing.T) {
	r := reader{logs.New(t.TempDir())}
	_, lines, end, err := r.Follow(testAPI, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a", "b"} {
		if err := r.book.Append(testAPI, logs.Line{Time: time.Now(), Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	if l := <-lines; l.Text != "a" {
		t.Fatalf("%+v", l)
	}
	end() // returns although nobody reads b
	if _, more := <-lines; more {
		t.Fatal("a line after the end")
	}
}
