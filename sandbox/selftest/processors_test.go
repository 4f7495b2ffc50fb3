package selftest

import "testing"

// TestAnAttackThatGotNoProcessor: what other programs took says nothing about the limit.
func TestAnAttackThatGotNoProcessor(t *testing.T) {
	for name, c := range map[string]struct {
		cores           float64
		throttled, busy bool
		want            Verdict
	}{
		"held":                       {0.5, true, false, Pass},
		"held on a busy machine":     {0.4, true, true, Pass},
		"not held":                   {1.9, true, false, Fail},
		"not held on a busy machine": {0.9, false, true, Fail},
		"it did not run":             {0.01, false, false, Fail},
		"it was not throttled":       {0.5, false, false, Fail},
		"it got nothing":             {0.01, false, true, NotApplicable},
		"it got less":                {0.3, false, true, NotApplicable},
	} {
		if f := judgeSpin(c.cores, 0.5, c.throttled, c.busy); f.verdict != c.want {
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
