package clock

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const day = 24 * time.Hour

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

// near compares times but for the part of a second that is not kept at each start.
func near(a, b time.Time) bool { return a.Sub(b).Abs() < 10*time.Second }

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
		time.Sleep(1000 * day) // as it seems
		for start := range 3 {
			c = open(t, path)
			time.Sleep(time.Hour)
			last = last.Add(time.Hour)
			if got := c.Now(); !near(got, last) {
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

// TestAServerThatIsOffAtNight knows what time it is, also after its holidays.
func TestAServerThatIsOffAtNight(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	synctest.Test(t, func(t *testing.T) {
		works := func(days int) {
			for range days {
				c := open(t, path)
				time.Sleep(8 * time.Hour)
				save(t, c)
				time.Sleep(16 * time.Hour)
			}
		}
		works(100)
		if got := open(t, path).Now(); !near(got, time.Now()) {
			t.Errorf("after a hundred nights it is %v, want %v", got, time.Now())
		}
		time.Sleep(14 * day)
		if late := time.Since(open(t, path).Now()); late < 14*day || late > 15*day {
			t.Errorf("after two weeks it is late by %v", late)
		}
		works(3)
		if got := open(t, path).Now(); !near(got, time.Now()) {
			t.Errorf("some days after two weeks it is %v, want %v", got, time.Now())
		}
	})
}

// TestAClockThatWasBehind at a start, as that of a machine which has none of its own, does not take what was known away.
func TestAClockThatWasBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	synctest.Test(t, func(t *testing.T) {
		later := time.Now().Add(1000 * day)
		known := even{right: later, wall: later}
		if err := os.WriteFile(path, []byte(known.text(later, 0)), 0o600); err != nil {
			t.Fatal(err)
		}
		c := open(t, path)
		if got := c.Now(); !got.Equal(time.Now()) {
			t.Errorf("%v is later than the machine's %v", got, time.Now())
		}
		save(t, c)
		time.Sleep(time.Until(later) + time.Hour)
		if got := open(t, path).Now(); !near(got, later) {
			t.Errorf("when it was set it is %v, want %v", got, later)
		}
	})
}

// TestWhatIsNoState: a power loss may leave anything, which must keep no server from starting and make nothing old.
func TestWhatIsNoState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	const good = "2026-05-01T00:00:00Z 2026-05-01T00:00:00Z 2026-05-01T00:00:00Z 0000000000\n"
	for text, ok := range map[string]bool{
		"": true, good: true, "2026-05-01T00:00:00Z": false, "yesterday\n": false, strings.Replace(good, "05", "15", 1): false,
		strings.Replace(good, "0000000000", "x", 1): false, strings.Repeat("\x00", 200): false,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := open(t, path)
		if doubt := c.Doubt(); (doubt == nil) != ok || doubt != nil && (!strings.Contains(doubt.Error(), path) || c.Now().Year() > 1970) {
			t.Errorf("%q: %v, %v", text, doubt, c.Now())
		}
		save(t, c)
		if doubt := open(t, path).Doubt(); doubt != nil {
			t.Errorf("after what %q has become was saved: %v", text, doubt)
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

func FuzzReadEven(f *testing.F) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	known := even{right: now, wall: now}
	f.Add(known.text(now.Add(time.Hour), time.Hour))
	f.Add("2026-05-01T00:00:00Z 0000-05-01T00:00:00Z 2026-05-01T00:00:00Z 9999999999\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := readEven(text, now)
		if err != nil {
			return
		}
		if got := c.now(now, 0); got.After(now) {
			t.Errorf("%q: it is %v, later than the machine's clock says", text, got)
		}
	})
}
