package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseSpan reads a time that may be given in days, like 90d, or as Go's durations, like 36h or 1h30m.
func parseSpan(text string) (time.Duration, error) {
	const most = 100 * 365
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err == nil && n > 0 && n <= most {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return d, nil
	}
	return 0, fmt.Errorf("%q is no time: write for example 90d or 12h", text)
}
