package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
)

const (
	day     = 24 * time.Hour
	maxDays = 36500
)

// parseSpan reads a time that may be long: "90d", "36h", "0". A day has 24 hours.
func parseSpan(text string) (time.Duration, error) {
	if number, isDays := strings.CutSuffix(text, "d"); isDays {
		n, err := strconv.Atoi(number)
		if err == nil && n >= 0 && n <= maxDays && number[0] != '+' {
			return time.Duration(n) * day, nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return d, nil
	}
	return 0, fmt.Errorf("%q is no time: write for example 90d or 12h", text)
}

// parseMoment reads a moment: "2027-01-31T00:00:00Z", or how far from now it is, to come or past.
func parseMoment(text string, now time.Time, past bool) (time.Time, error) {
	if d, err := parseSpan(text); err == nil && past {
		return now.Add(-d), nil
	} else if err == nil {
		return now.Add(d), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2024-05-01T12:00:00Z, 24h or 90d", text)
}

// quotaFlag reads --quota: nil when it was not given, 0 for unlimited.
func quotaFlag(cmd *cli.Command) (*int64, error) {
	if !cmd.IsSet("quota") {
		return nil, nil
	}
	text := cmd.String("quota")
	if text == "unlimited" {
		return new(int64), nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return nil, usagef("--quota: %q is no number of requests: write for example 100000 or unlimited", text)
	}
	return &n, nil
}

// expiresFlag reads --expires: nil when it was not given.
func expiresFlag(cmd *cli.Command, now time.Time) (*time.Time, error) {
	text := cmd.String("expires")
	if text == "" {
		return nil, nil
	}
	at, err := parseMoment(text, now, false)
	if err != nil {
		return nil, usagef("--expires: %v", err)
	}
	return &at, nil
}
