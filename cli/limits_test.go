package cli

import (
	"strings"
	"testing"

	"apibuilder/deploy"
	"apibuilder/store"
)

func TestPolicyComesFromTheSettings(t *testing.T) {
	s, err := settingsOf(t, "serve", "--default-cpu", "0.5", "--max-memory", "1G", "--max-cpu", "2", "--max-pids", "99")
	if err != nil {
		t.Fatal(err)
	}
	got, err := readPolicy(s)
	want := deploy.Policy{
		Defaults: store.Limits{CPU: 0.5}, Ceiling: store.Limits{MemoryBytes: 1 << 30, CPU: 2, Pids: 99},
	}
	if err != nil || got != want {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestBadLimitsAreUsageErrorsThatNameTheSetting(t *testing.T) {
	for _, c := range [][]string{
		{"--max-memory:", "--max-memory", "1K"},
		{"--max-cpu:", "--max-cpu", "none"},
		{"--max-pids:", "--max-pids", "2"},
		{"--default-pids:", "--default-pids", "2"},
		{"above the ceiling of 1 cores, the server's", "--default-cpu", "2", "--max-cpu", "1"},
	} {
		code, _, stderr := run(t, append([]string{"serve"}, c[1:]...)...)
		if code != exitUsage || !strings.Contains(stderr, c[0]) {
			t.Errorf("%v: exit %d, %s", c[1:], code, stderr)
		}
	}
}
