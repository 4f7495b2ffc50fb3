package cli

import "testing"

func TestParsePart(t *testing.T) {
	for text, want := range map[string]float64{"0": 0, "1": 1, "0.25": 0.25, "10%": 0.1, "100%": 1} {
		if got, err := parsePart(text); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "2", "-1", "101%", "NaN", "half", "%", "Inf"} {
		if got, err := parsePart(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
