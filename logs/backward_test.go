package logs

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func backward(t *testing.T, content []byte) []string {
	t.Helper()
	var got []string
	err := eachBackward(bytes.NewReader(content), int64(len(content)), func(raw []byte) bool {
		got = append(got, string(raw))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(got)
	return got
}

func forward(content []byte) []string {
	var want []string
	for _, line := range strings.Split(string(content), "\n") {
		if line != "" && len(line) <= recordMost {
			want = append(want, line)
		}
	}
	return want
}

func TestBackwardIsForwardTurned(t *testing.T) {
	long := strings.Repeat("x", blockBytes)
	for _, content := range []string{
		"", "\n", "a", "a\n", "a\nb", "\n\na\n\nb\n", long, long + "\n", "a\n" + long + "\nb\n", long[1:] + "\nb", long[2:] + "\nb\n",
		"a\n" + strings.Repeat("y", 3*blockBytes) + "\nb\n", "a\n" + strings.Repeat("z", recordMost+10*blockBytes) + "\nb\nc\n",
		strings.Repeat("z", recordMost+10*blockBytes), strings.Repeat("line\n", 50000),
	} {
		if got, want := backward(t, []byte(content)), forward([]byte(content)); !slices.Equal(got, want) {
			t.Errorf("%.20q with %d bytes: %d lines, want %d", content, len(content), len(got), len(want))
		}
	}
}

func FuzzBackward(f *testing.F) {
	f.Add([]byte("a\nb\n"), 1)
	f.Add([]byte("\nabc"), 30000)
	f.Fuzz(func(t *testing.T, content []byte, times int) {
		content = bytes.Repeat(content, max(1, min(times, 300_000/(len(content)+1))))
		for _, line := range strings.Split(string(content), "\n") {
			if len(line) > recordMost-2*blockBytes { // near the bound it depends on where blocks end
				return
			}
		}
		if got, want := backward(t, content), forward(content); !slices.Equal(got, want) {
			t.Errorf("%d lines, want %d", len(got), len(want))
		}
	})
}
