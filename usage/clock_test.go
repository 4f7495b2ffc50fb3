package usage

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"apibuilder/store"
)

// TestAClockThatIsFarAhead makes nothing old until it has gone evenly for a day.
func TestAClockThatIsFarAhead(t *testing.T) {
	newest := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	const year = 365 * 24 * time.Hour
	c := &evenClock{right: newest, wall: newest.Add(year), up: time.Minute}
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

// TestPrunerOfAServerThatWasOff removes what the newest record makes old, and after a day what the clock does.
func TestPrunerOfAServerThatWasOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keep = 90 * 24 * time.Hour
		begin := time.Now()
		o := &old{newest: begin.Add(-1000 * 24 * time.Hour)}
		p := NewPruner(o, keep, settled, zap.NewNop())
		p.Start()
		synctest.Wait()
		if got, want := o.asked(), o.newest.Add(-keep); !got.Equal(want) {
			t.Errorf("at the start what is older than %v is removed, want %v", got, want)
		}
		time.Sleep(proof + pruneEvery)
		synctest.Wait()
		if got, want := o.asked(), time.Now().Add(-keep); !got.After(want.Add(-2 * pruneEvery)) {
			t.Errorf("after a day what is older than %v is removed, want %v", got, want)
		}
		_ = p.Stop(t.Context())
	})
}

func (o *old) Usage(context.Context, store.UsageFilter) ([]store.Usage, error) {
	if o.newest.IsZero() {
		return nil, nil
	}
	return []store.Usage{{Time: o.newest}}, nil
}
