package cli

import (
	"testing"
	"time"
)

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{"90d": 90 * day, "0": 0, "0d": 0, "36h": 36 * time.Hour, "1h30m": 90 * time.Minute, "36500d": 36500 * day} {
		if got, err := parseSpan(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "+1d", "1.5d", "-1h", "soon", "36501d", "99999999999999999999d", "1d2h"} {
		if got, err := parseSpan(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func TestParseMoment(t *testing.T) {
	now := time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"1d": now.Add(day), "2h": now.Add(2 * time.Hour), "2026-01-02T03:04:05Z": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	} {
		if got, err := parseMoment(text, now, false); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if got, err := parseMoment("1d", now, true); err != nil || !got.Equal(now.Add(-day)) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseMoment("tomorrow", now, false); err == nil {
		t.Error("tomorrow is a time")
	}
}

func TestEnvironmentsAreKeptForDays(t *testing.T) {
	for text, want := range map[string]time.Duration{"14d": 14 * day, "336h": 336 * time.Hour} {
		if o := readAs(t, readBuildOptions, "--env-keep", text); o.keep != want {
			t.Errorf("%s is %v", text, o.keep)
		}
	}
	for _, text := range []string{"0", "0d", "soon", "-1h"} {
		if got, err := parseKeep(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}
