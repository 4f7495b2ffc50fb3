package cli

import (
	"strings"
	"testing"
)

func TestBadEdgeSettings(t *testing.T) {
	for want, args := range map[string][]string{
		"its first address is 10.0.0.0/8": {"--trusted-proxies", "10.0.0.1/8"},
		"neither x-forwarded":             {"--proxy-headers", "both"},
		"--trusted-proxies":               {"--proxy-protocol"},
	} {
		code, _, stderr := run(t, append([]string{"serve"}, args...)...)
		if code != exitUsage || !strings.Contains(stderr, want) || !strings.Contains(stderr, args[0]) {
			t.Errorf("%v: exit %d, %s", args, code, stderr)
		}
	}
}
