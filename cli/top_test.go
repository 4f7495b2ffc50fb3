package cli

import (
	"strings"
	"testing"
	"time"

	"apibuilder/admin"
)

func TestRatesFollowFromCounters(t *testing.T) {
	at := time.Now()
	before := admin.Top{At: at, APIs: []admin.TopAPI{
		{ID: "a", Name: "a", Requests: 100, ServerErrors: 10, Instances: []admin.TopInstance{{ID: "i1", CPUSeconds: 5}, {ID: "i2", CPUSeconds: 9}}},
		{ID: "b", Name: "b", Requests: 500},
		{ID: "gone", Name: "gone", Requests: 1},
	}}
	after := admin.Top{At: at.Add(2 * time.Second), APIs: []admin.TopAPI{
		{ID: "a", Name: "a", Requests: 110, ClientErrors: 2, ServerErrors: 14, InFlight: 3, MemoryBytes: 7, Instances: []admin.TopInstance{{ID: "i1", CPUSeconds: 6}, {ID: "i3", CPUSeconds: 2}}},
		{ID: "b", Name: "b", Requests: 30}, // the server began anew
		{ID: "c", Name: "c", Requests: 4},  // is new
	}}
	all := between(before, after, sorts["requests"])
	if len(all) != 3 || all[0].Name != "b" || all[0].Requests != 15 || all[1].Name != "a" || all[2].Requests != 2 {
		t.Fatalf("%+v", all)
	}
	if a := all[1]; a.Requests != 5 || a.ClientErrors != 1 || a.ServerErrors != 2 || a.CPU != 1.5 || a.Instances != 2 || a.InFlight != 3 || a.RequestsTotal != 110 {
		t.Errorf("%+v", a)
	}
	if same := between(after, after, sorts["name"]); same[0].Requests != 0 || same[0].CPU != 0 {
		t.Errorf("in no time: %+v", same[0])
	}
}

func TestEveryColumnSorts(t *testing.T) {
	small := busy{Name: "x", State: "a"}
	large := busy{Name: "y", State: "b", Requests: 1, ServerErrors: 1, InFlight: 1, Instances: 1, MemoryBytes: 1, CPU: 1}
	for _, column := range topColumns() {
		byText := column == "name" || column == "state"
		if less := sorts[column](large, small) < 0; less == byText {
			t.Errorf("%s: %v", column, less)
		}
	}
	if len(topColumns()) != len(sorts) {
		t.Error("a column is not told of")
	}
}

func TestAFrameFitsTheTerminal(t *testing.T) {
	got := frame("one\ntwo is long\nthree\nfour\n", 6, 4)
	if got != "\x1b[Hone\x1b[K\r\ntwo is\x1b[K\r\nthree\x1b[K\r\n\x1b[J" {
		t.Errorf("%q", got)
	}
	if lines := strings.Count(frame(strings.Repeat("x\n", 100), 80, 24), "\r\n"); lines != 23 {
		t.Errorf("%d lines on a terminal of 24", lines)
	}
}

// TestATerminalIsSentNothingOfTheAuthors shows that a name, which a server tells, cannot command the terminal.
func TestATerminalIsSentNothingOfTheAuthors(t *testing.T) {
	var b strings.Builder
	topRows(&b, []busy{{Name: "a\x1b[2Jb\n\tc", State: "running"}})
	if strings.Contains(b.String(), "\x1b") || strings.Count(b.String(), "\n") != 2 {
		t.Errorf("%q", b.String())
	}
}

func TestOnlyAddressesOfTheWebAreOpened(t *testing.T) {
	for _, address := range []string{"", "file:///etc/passwd", "javascript:alert(1)", "--help", "http:", "/x", "http://"} {
		if err := openIn(t.Context(), "true", address); err == nil {
			t.Errorf("%q was opened", address)
		}
	}
	if err := openIn(t.Context(), "true", "https://api.example.com/run/x/docs"); err != nil {
		t.Error(err)
	}
}
