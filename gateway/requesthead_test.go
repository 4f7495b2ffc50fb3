package gateway

import (
	"strings"
	"testing"
)

// TestFieldValuesAreLookedAtWhole puts every byte at every place of values of all lengths around eight.
func TestFieldValuesAreLookedAtWhole(t *testing.T) {
	for length := range 20 {
		for _, filler := range []string{"a", "\t", "\xff", "~", " "} {
			value := []byte(strings.Repeat(filler, length))
			if !isFieldValue(value) || !isFieldValue(string(value)) {
				t.Errorf("%q is none", value)
			}
			for at := range value {
				for c := range 256 {
					value[at] = byte(c)
					want := c >= ' ' && c != 0x7f || c == '\t'
					if isFieldValue(value) != want || isFieldValue(string(value)) != want {
						t.Fatalf("%q: want %v", value, want)
					}
				}
				value[at] = filler[0]
			}
		}
	}
}

func BenchmarkFieldValue(b *testing.B) {
	value := "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/118.0"
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		if !isFieldValue(value) {
			b.Fatal(value)
		}
	}
}
