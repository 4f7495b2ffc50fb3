package toolchain

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLookFindsWhatEnsureWouldUse and changes nothing.
func TestLookFindsWhatEnsureWouldUse(t *testing.T) {
	x := newFakeIndex(t)
	dir := filepath.Join(t.TempDir(), "tools")
	if got := look(t.Context(), dir, x.pin); got != (Found{Tool: "fake", Version: "1.0"}) {
		t.Fatalf("in an empty place: %+v", got)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) || x.fetched.Load() > 0 {
		t.Fatalf("it made or fetched something: %v", err)
	}

	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	wheel := filepath.Join(dir, x.pin.wheel)
	if err := os.WriteFile(wheel, x.wheel, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := look(t.Context(), dir, x.pin); got.Wheel != wheel || got.Path != "" || got.Notes != "" {
		t.Fatalf("with a wheel: %+v", got)
	}
	if err := os.WriteFile(wheel, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := look(t.Context(), dir, x.pin); got.Wheel != "" || !strings.Contains(got.Notes, wheel+" is not the wheel") {
		t.Fatalf("with another wheel: %+v", got)
	}
	os.Remove(wheel)

	paths, err := testInstaller(dir, x.pin).ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := look(t.Context(), dir, x.pin); got.Path != paths["fake"] || got.Notes != "" {
		t.Fatalf("installed: %+v, want %s", got, paths["fake"])
	}
	if err := os.WriteFile(paths["fake"], []byte("changed"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := look(t.Context(), dir, x.pin); got.Path != "" || !strings.Contains(got.Notes, "has changed") {
		t.Fatalf("changed: %+v", got)
	}
}

func TestReach(t *testing.T) {
	x := newFakeIndex(t)
	x.user = "ann:hunter2"
	index := func(user string) Index {
		found, err := ConfiguredIndex()
		if err != nil {
			t.Fatal(err)
		}
		found.URL = strings.Replace(found.URL, "http://", "http://"+user, 1)
		return found
	}
	if err := Reach(t.Context(), index("ann:hunter2@"), "fake", time.Minute); err != nil {
		t.Fatal(err)
	}
	err := Reach(t.Context(), index("ann:hunter3@"), "fake", time.Minute)
	if err == nil || !strings.Contains(err.Error(), "give credentials") || strings.Contains(err.Error(), "hunter") {
		t.Fatalf("error %v", err)
	}
	if err := Reach(t.Context(), index("ann:hunter2@"), "other", time.Minute); err == nil || !strings.Contains(err.Error(), "404") {
		t.Fatalf("error %v", err)
	}
}

func TestReachDoesNotWaitForEver(t *testing.T) {
	cleanConfig(t)
	end := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	defer silent.Close()
	defer close(end)
	err := Reach(t.Context(), Index{URL: silent.URL}, "fake", 50*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "no answer for 50ms") {
		t.Fatalf("error %v", err)
	}
}
