package clock

import (
	"testing"
	"time"
)

// TestAClockThatIsFarAhead makes nothing old until it has gone evenly for a day.
func TestAClockThatIsFarAhead(t *testing.T) {
	newest := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	const year = 365 * 24 * time.Hour
	c := &even{right: newest, wall: newest.Add(year), up: time.Minute}
	for _, step := range []struct {
		name string
		wall time.Time
		up   time.Duration
		want time.Time
	}{
		{"ahead by a year", newest.Add(year + time.Hour), time.Minute + time.Hour, newest.Add(time.Hour)},
		{"set back", newest.Add(2 * time.Hour), time.Minute + 2*time.Hour, newest.Add(2 * time.Hour)},
		{"a day later, having been set", newest.Add(25 * time.Hour), time.Minute + 25*time.Hour, newest.Add(25 * time.Hour)},
		{"behind", newest.Add(-year), time.Minute + 26*time.Hour, newest.Add(-year)},
		{"ahead again", newest.Add(year), time.Minute + 50*time.Hour, newest.Add(50 * time.Hour)},
		{"for a day, evenly", newest.Add(year + 24*time.Hour), time.Minute + 74*time.Hour, newest.Add(year + 24*time.Hour)},
	} {
		if got := c.now(step.wall, step.up); !got.Equal(step.want) {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
}
