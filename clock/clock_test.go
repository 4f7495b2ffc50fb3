package clock

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func open(t *testing.T, path string) *Clock {
	t.Helper()
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func save(t *testing.T, c *Clock) {
	t.Helper()
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
}

// TestSeveralStartsWithAClockThatIsFarAhead believe it no more than one does, nor does a server that was off for long believe it at once.
func TestSeveralStartsWithAClockThatIsFarAhead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	synctest.Test(t, func(t *testing.T) {
		c := open(t, path)
		last := time.Now()
		if got := c.Now(); !got.Equal(last) {
			t.Errorf("the first server believes %v", got)
		}
		save(t, c)
		time.Sleep(1000 * 24 * time.Hour) // as it seems
		for start := range 3 {
			c = open(t, path)
			time.Sleep(time.Hour)
			last = last.Add(time.Hour)
			if got := c.Now(); !got.Equal(last) {
				t.Errorf("start %d: it is %v, want %v", start, got, last)
			}
			save(t, c)
		}
		time.Sleep(proof)
		if got := c.Now(); !got.Equal(time.Now()) {
			t.Errorf("after a day: %v, want %v", got, time.Now())
		}
	})
}

// TestAClockThatWasBehind at a start, as that of a machine which has none of its own, does not take what was known away.
func TestAClockThatWasBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	synctest.Test(t, func(t *testing.T) {
		later := time.Now().Add(1000 * 24 * time.Hour).UTC().Truncate(time.Second)
		if err := os.WriteFile(path, []byte(later.Format(layout)), 0o600); err != nil {
			t.Fatal(err)
		}
		c := open(t, path)
		if got := c.Now(); !got.Equal(time.Now()) {
			t.Errorf("%v is later than the machine's %v", got, time.Now())
		}
		save(t, c)
		if text, err := os.ReadFile(path); err != nil || string(text) != later.Format(layout) {
			t.Errorf("kept as %q, %v", text, err)
		}
	})
}

func TestWhatIsNoTimeIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	for text, good := range map[string]bool{"": true, "2026-05-01T00:00:00Z\n": true, "2026-05-01T00:00:00Z": false, "yesterday\n": false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		if (err == nil) != good || err != nil && (!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remove it")) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a directory is no file of a clock")
	}
	c := open(t, filepath.Join(t.TempDir(), "missing", "clock"))
	if err := c.Save(); err == nil {
		t.Error("nobody is told that nothing is kept")
	}
}
