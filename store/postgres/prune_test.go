package postgres

import (
	"testing"
	"time"

	"apibuilder/internal/pgtest"
	"apibuilder/store"
)

// TestAWrongClockOfOneNodeRemovesNothing that is not as old by the database's, whichever way it is wrong.
func TestAWrongClockOfOneNodeRemovesNothing(t *testing.T) {
	const keep = 90 * 24 * time.Hour
	s := openAt(t, pgtest.Database(t))
	now := time.Now()
	var records []store.Usage
	for id, age := range map[string]time.Duration{"new": time.Hour, "young": keep - time.Hour, "old": keep + time.Hour, "older": 3 * keep} {
		records = append(records, store.Usage{ID: id, APIID: "api_a", Time: now.Add(-age)})
	}
	if err := s.AddUsage(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		wrong         time.Duration
		removed, left int
	}{{-365 * 24 * time.Hour, 0, 4}, {-keep, 1, 3}, {365 * 24 * time.Hour, 1, 2}, {0, 0, 2}} {
		s.now = func() time.Time { return time.Now().Add(step.wrong) }
		if ahead, err := s.Ahead(t.Context()); err != nil || (ahead-step.wrong).Abs() > time.Minute {
			t.Errorf("a clock that is wrong by %v is ahead by %v, %v", step.wrong, ahead, err)
		}
		at := s.now()
		n, err := s.PruneUsage(t.Context(), at.Add(-keep), time.Time{}, 100)
		if err != nil || int(n) != step.removed {
			t.Errorf("a clock that is wrong by %v removes %d records, want %d; %v", step.wrong, n, step.removed, err)
		}
		left, err := s.Usage(t.Context(), store.UsageFilter{})
		if err != nil || len(left) != step.left {
			t.Errorf("a clock that is wrong by %v leaves %d records, want %d; %v", step.wrong, len(left), step.left, err)
		}
	}
	s.now = func() time.Time { return time.Now().Add(365 * 24 * time.Hour) }
	if _, err := s.PruneUsage(t.Context(), time.Time{}, s.now().Add(-keep), 100); err != nil {
		t.Fatal(err)
	}
	hours, err := s.SumUsage(t.Context(), store.SumFilter{By: store.ByHour})
	if err != nil || len(hours) != 2 {
		t.Errorf("%d hours are left, %v", len(hours), err)
	}
}
