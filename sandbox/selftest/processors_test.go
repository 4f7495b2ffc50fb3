package selftest

import (
	"testing"
	"time"
)

// TestAnAttackThatGotNoProcessor: what other programs took says nothing about the limit.
func TestAnAttackThatGotNoProcessor(t *testing.T) {
	for name, c := range map[string]struct {
		cores, seconds  float64
		throttled, busy bool
		want            Verdict
	}{
		"held":                             {0.5, 1.2, true, false, Pass},
		"held on a busy machine":           {0.4, 1.2, true, true, Pass},
		"not held":                         {1.9, 1.2, true, false, Fail},
		"not held on a busy machine":       {0.9, 1.2, false, true, Fail},
		"a little more, too short to tell": {0.61, 1.2, false, true, NotApplicable},
		"a little more, long enough":       {0.61, 6, false, true, Fail},
		"it did not run":                   {0.01, 1.2, false, false, Fail},
		"it was not throttled":             {0.5, 1.2, false, false, Fail},
		"it got nothing":                   {0.01, 12, false, true, NotApplicable},
		"it got less":                      {0.3, 12, false, true, NotApplicable},
	} {
		seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
		if f := judgeSpin(seconds(c.cores*c.seconds), seconds(c.seconds), 0.5, c.throttled, c.busy); f.verdict != c.want {
			t.Errorf("%s: %s, %s", name, f.verdict, f.detail)
		}
	}
}

func TestABusyMachine(t *testing.T) {
	before := parseProcessors("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
	for text, want := range map[string]bool{
		"cpu  300 0 100 805 0 0 0 0 0 0\n": true,
		"cpu  110 0 100 990 0 0 0 0 0 0\n": false,
		"cpu  100 0 100 801 2 0 0 200 0 0": true, // another machine of the same host took it
		"cpu  100 0 100 800 0 0 0 0 0 0":   false,
		"cpu  1 2 3":                       false,
		"":                                 false,
		"cpu  x 0 100 800 0 0 0 0 0 0":     false,
	} {
		if got := parseProcessors(text).busySince(before); got != want {
			t.Errorf("%q: busy %t", text, got)
		}
	}
	if readProcessors().all <= 0 {
		t.Error("this machine tells nothing")
	}
}
