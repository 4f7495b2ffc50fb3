package logs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"apibuilder/logs"
)

// TestEveryCombinationOfFilters compares each subset of all filters with what its members choose by themselves.
func TestEveryCombinationOfFilters(t *testing.T) {
	b := logs.New(logs.Config{Dir: t.TempDir()})
	defer b.Close()
	start := time.Now().Add(-time.Hour).UTC()
	var all []logs.Line
	for i := range 300 {
		l := logs.Line{
			Time: start.Add(time.Duration(i) * time.Second), Version: 1 + i%3,
			Stream:  []string{"stdout", "stderr", "gateway", "sandbox", "deploy"}[i%5],
			Level:   []string{"", "debug", "info", "warning", "error", "critical"}[i/2%6],
			Request: []string{"", "r1", "r2"}[i/3%3],
			Text:    fmt.Sprintf("line %d %s", i, []string{"alpha", "beta"}[i/4%2]),
		}
		all = append(all, l)
		if err := b.Append(api, l); err != nil {
			t.Fatal(err)
		}
	}
	pattern, err := logs.ParsePattern(`alpha$`)
	if err != nil {
		t.Fatal(err)
	}
	parts := []struct {
		set func(*logs.Filter)
		is  func(logs.Line) bool
	}{
		{func(f *logs.Filter) { f.Since = start.Add(50 * time.Second) }, func(l logs.Line) bool { return !l.Time.Before(start.Add(50 * time.Second)) }},
		{func(f *logs.Filter) { f.Until = start.Add(200 * time.Second) }, func(l logs.Line) bool { return l.Time.Before(start.Add(200 * time.Second)) }},
		{func(f *logs.Filter) { f.Level = "warning" }, func(l logs.Line) bool { return l.Level == "warning" || l.Level == "error" || l.Level == "critical" }},
		{func(f *logs.Filter) { f.Request = "r1" }, func(l logs.Line) bool { return l.Request == "r1" }},
		{func(f *logs.Filter) { f.Streams = []string{"stderr"} }, func(l logs.Line) bool { return l.Stream == "stderr" }},
		{func(f *logs.Filter) { f.Sources = []string{"program", "gateway"} }, func(l logs.Line) bool { return l.Stream != "sandbox" && l.Stream != "deploy" }},
		{func(f *logs.Filter) { f.Version = 2 }, func(l logs.Line) bool { return l.Version == 2 }},
		{func(f *logs.Filter) { f.Pattern = pattern }, func(l logs.Line) bool { return strings.HasSuffix(l.Text, "alpha") }},
	}
	found := 0
	for set := range 1 << len(parts) {
		var f logs.Filter
		for i, p := range parts {
			if set>>i&1 == 1 {
				p.set(&f)
			}
		}
		var want []logs.Line
		for _, l := range all {
			ok := true
			for i, p := range parts {
				ok = ok && (set>>i&1 == 0 || p.is(l))
			}
			if ok {
				want = append(want, l)
			}
		}
		found += len(want)
		for _, n := range []int{1000, 3} {
			got, err := b.Read(t.Context(), api, f, n)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want[max(0, len(want)-n):]) {
				t.Fatalf("filters %b, %d lines: %d, want %d; %v", set, n, len(got), len(want), err)
			}
		}
	}
	if found < 2000 {
		t.Errorf("the combinations find %d lines only", found)
	}
}

// TestLinesOfAWrongClock: a machine without a clock of its own begins long ago, until it has asked for the time.
func TestLinesOfAWrongClock(t *testing.T) {
	b := logs.New(logs.Config{Dir: t.TempDir()})
	defer b.Close()
	now := time.Now().UTC()
	for _, l := range []logs.Line{
		{Time: now.Add(-48 * time.Hour), Text: "days ago"},
		{Time: now.Add(-time.Hour), Text: "before the reboot"},
		{Time: time.Unix(30, 0), Text: "booting"},
		{Time: time.Unix(31, 0), Text: "booted"},
		{Time: now.Add(-time.Minute), Text: "after it"},
	} {
		l.Stream = "stdout"
		if err := b.Append(api, l); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		since time.Time
		want  string
	}{
		{time.Time{}, "days ago before the reboot after it"},
		{now.Add(-24 * time.Hour), "before the reboot after it"},
		{now.Add(-10 * time.Minute), "after it"},
	} {
		lines, err := b.Read(t.Context(), api, logs.Filter{Since: c.since}, 100)
		if got := texts(lines); err != nil || got != c.want {
			t.Errorf("since %v: %q, %v, want %q", c.since, got, err, c.want)
		}
	}
}

func TestPatternsAreBounded(t *testing.T) {
	for text, good := range map[string]bool{
		"": true, "a.*b": true, `(?i)error \d+`: true, "(": false, "[z-a]": false, `(a)\1`: false, "(?=a)": false,
		"(a{100}){100}": false, "((a{10}){10}){9}b{900}": false, `\pL{1000}`: false, strings.Repeat("a", 513): false, "\xff": false,
	} {
		_, err := logs.ParsePattern(text)
		var refused *logs.Error
		if (err == nil) != good || err != nil && (!errors.As(err, &refused) || refused.Field != "grep" || refused.Remedy == "") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestTheWorstPatternIsQuick searches a full log with a pattern at the bound.
func TestTheWorstPatternIsQuick(t *testing.T) {
	pattern, err := logs.ParsePattern("(x|xx|xxx){90}y$")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", 16<<10)
	began := time.Now()
	if pattern.MatchString(text) {
		t.Error("it matches")
	}
	if took := time.Since(began); took > time.Minute { // on a busy machine, with the race detector; a backtracking matcher would take for ever
		t.Errorf("one line took %v", took)
	}
}

func TestLevelsAreRead(t *testing.T) {
	for text, want := range map[string]string{"warning": "warning", "WARN": "warning", "Error": "error", "loud": "", "": ""} {
		if got, err := logs.ParseLevel(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("a|b", "error", "text", "stderr")
	f.Add("(x+x+)+y", "info", strings.Repeat("x", 100), "gateway")
	f.Fuzz(func(t *testing.T, pattern, level, text, stream string) {
		var filter logs.Filter
		var err error
		if filter.Pattern, err = logs.ParsePattern(pattern); err != nil {
			return
		}
		if filter.Level, err = logs.ParseLevel(level); err != nil {
			return
		}
		if len(text) > 16<<10 {
			text = text[:16<<10]
		}
		l := logs.Line{Text: text, Stream: stream, Level: "critical"}
		if filter.Match(l) != filter.Pattern.MatchString(text) {
			t.Errorf("a critical line is below level %q", level)
		}
		if l.Level = ""; filter.Match(l) {
			t.Error("a line without a level has one")
		}
	})
}

// TestSearchesEnd gives up those whose caller has left, and leaves place for searches without a pattern beside those with one.
func TestSearchesEnd(t *testing.T) {
	b := logs.New(logs.Config{Dir: t.TempDir()})
	defer b.Close()
	for i := range 500 {
		appendAll(t, b, fmt.Sprint(i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if lines, err := b.Read(ctx, api, logs.Filter{}, 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("%d lines for nobody, %v", len(lines), err)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if lines, err := b.Read(t.Context(), api, logs.Filter{}, 1000); err != nil || len(lines) != 500 {
				t.Errorf("%d lines, %v", len(lines), err)
			}
		})
	}
	all.Wait()
}
