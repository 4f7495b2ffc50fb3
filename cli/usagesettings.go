package cli

import (
	"fmt"
	"os"
	"time"
)

var usageSettings = []setting{
	{flag: "node-name", serve: true, usage: "`NAME` of this server among those that share a database, and in usage records; the host's if empty"},
	{flag: "usage-retention", serve: true, value: "90d", usage: "`TIME` for which usage records are kept, or forever; sums by hour are kept for 400 days at least, by day always"},
}

// shortestRetention is far more than it takes to deliver what waits in a journal: a record that was removed would be new again.
const shortestRetention = day

// parseRetention returns 0 for ever.
func parseRetention(text string) (time.Duration, error) {
	if text == "forever" {
		return 0, nil
	}
	d, err := parseSpan(text)
	if err == nil && d < shortestRetention {
		err = fmt.Errorf("%q is too short: keep usage records for at least a day, 1d", text)
	}
	return d, err
}

// nodeName is the name of this server in usage records.
func nodeName(s settings) (string, error) {
	name := s.text("node-name")
	if name == "" {
		host, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("ask for the host name: %w: give --node-name", err)
		}
		return host, nil
	}
	for _, r := range name {
		if r <= ' ' || r > '~' || len(name) > 253 {
			return "", usagef("%s: %q is no name: use up to 253 letters, digits and signs without spaces", s["node-name"].name, name)
		}
	}
	return name, nil
}
