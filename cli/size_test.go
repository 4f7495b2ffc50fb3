package cli

import (
	"testing"

	"apibuilder/store"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "1024": 1024, "64K": 64 << 10, "64Ki": 64 << 10, "64KiB": 64 << 10, "256M": 256 << 20, "256MB": 256 << 20,
		"1.5G": 3 << 29, "2T": 2 << 40,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "M", "B", "i", "0", "-1", "-1M", "1X", "1 M", "1m", "1e9", "0x10", "NaN", "Inf", "1iM", "9999999T", "1_0", "+1",
	} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is taken for %d", text, got)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	f.Add("256M")
	f.Add("1.5GiB")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := parseSize(text); err == nil && (n < 0 || n > 1<<60) {
			t.Fatalf("%q is %d", text, n)
		}
	})
}

func TestFormatSizeIsTheInverse(t *testing.T) {
	for _, text := range []string{"1", "64K", "256M", "3G", "1T"} {
		n, err := parseSize(text)
		if err != nil || formatSize(n) != text {
			t.Errorf("%q becomes %q, %v", text, formatSize(n), err)
		}
	}
}

func TestParseLimits(t *testing.T) {
	name := func(flag string) string { return "--" + flag }
	got, err := parseLimits("256M", "0.5", "64", name)
	if want := (store.Limits{MemoryBytes: 256 << 20, CPU: 0.5, Pids: 64}); err != nil || got != want {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := parseLimits("", "", "", name); err != nil || got != (store.Limits{}) {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, cpu := range []string{"NaN", "0", "-1", "2000", "x"} {
		if _, err := parseLimits("", cpu, "", name); err == nil {
			t.Errorf("cpu %q is taken", cpu)
		}
	}
}
