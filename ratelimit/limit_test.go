package ratelimit

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseRate(t *testing.T) {
	for in, want := range map[string]Limit{
		"60/m":         {60, time.Minute},
		"1/s":          {1, time.Second},
		"5000/h":       {5000, time.Hour},
		"100000/d":     {100000, 24 * time.Hour},
		"10/30s":       {10, 30 * time.Second},
		"7/1h30m":      {7, 90 * time.Minute},
		"1/1ms":        {1, time.Millisecond},
		"1000000000/s": {MaxRequests, time.Second},
		"unlimited":    {},
	} {
		got, err := ParseRate(in)
		if err != nil || got != want {
			t.Errorf("ParseRate(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
}

func TestParseRateErrorsNameInputAndExample(t *testing.T) {
	for _, in := range []string{
		"", "60", "/", "/m", "60/", "0/m", "-1/m", "+1/m", "1.5/m", "1e3/m", "0x10/m", "1_000/m", " 60/m", "60/m ", "60 / m",
		"60/M", "60/min", "60/-30s", "60/0", "60/0s", "60/1us", "60/9000h", "1000000001/s", "99999999999999999999/s",
		"60/m/s", "60/\x00", "\xff/m", "Unlimited", "60/99999999999999h",
	} {
		_, err := ParseRate(in)
		if err == nil {
			t.Errorf("ParseRate(%q) is accepted", in)
			continue
		}
		if !strings.Contains(err.Error(), `"60/m"`) || !strings.HasPrefix(err.Error(), "rate \"") {
			t.Errorf("ParseRate(%q): error without input or example: %v", in, err)
		}
	}
	if _, err := ParseRate(strings.Repeat("9", 1<<20)); len(err.Error()) > 400 {
		t.Errorf("the error repeats %d bytes of input", len(err.Error()))
	}
}

func TestStringIsTheInverse(t *testing.T) {
	for in, want := range map[string]string{
		"60/60s": "60/m", "60/24h": "60/d", "60/1h": "60/h", "60/1000ms": "60/s", "10/30s": "10/30s", "7/90m": "7/1h30m0s",
		"unlimited": "unlimited",
	} {
		l, err := ParseRate(in)
		if err != nil {
			t.Fatal(err)
		}
		if l.String() != want {
			t.Errorf("ParseRate(%q).String() = %q, want %q", in, l.String(), want)
		}
	}
	for _, l := range []Limit{{}, {Requests: -1, Per: time.Second}, {Requests: 1}} {
		if l.String() != "unlimited" {
			t.Errorf("%#v.String() = %q", l, l.String())
		}
	}
}

func TestRoundingNeverAddsQuota(t *testing.T) {
	for _, l := range []Limit{
		{1, time.Second},
		{7, time.Second},
		{3, 10},
		{math.MaxInt, 1},
		{1, math.MaxInt64},
		{2, math.MaxInt64},
		{math.MaxInt, math.MaxInt64},
		{MaxRequests, MinPer},
		{MaxRequests, MaxPer},
	} {
		interval, window := l.spans()
		if interval < 1 || window < interval {
			t.Errorf("%#v: interval %d, window %d", l, interval, window)
		}
		if l.Per < most && window < int64(l.Per) {
			t.Errorf("%#v: window %d is shorter than Per", l, window)
		}
	}
}

func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"60/m", "5/30s", "1/1h30m", "unlimited", "", "0/s", "9/9999h", "1/.5s", "1/+1s", "1/1µs"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseRate(s)
		if err != nil {
			return
		}
		if l != (Limit{}) && (l.Requests < 1 || l.Requests > MaxRequests || l.Per < MinPer || l.Per > MaxPer) {
			t.Fatalf("ParseRate(%q) = %#v is out of bounds", s, l)
		}
		if again, err := ParseRate(l.String()); err != nil || again != l {
			t.Fatalf("ParseRate(%q) = %#v, but ParseRate(%q) = %#v, %v", s, l, l.String(), again, err)
		}
	})
}
