package ratelimit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bounds of what ParseRate accepts.
const (
	MaxRequests = 1_000_000_000
	MinPer      = time.Millisecond
	MaxPer      = 366 * 24 * time.Hour
)

const day = 24 * time.Hour

// Limit is a number of requests in a span of time. A full span's worth may come at once. The zero value, like any with
// a field that is not positive, means no limit.
type Limit struct {
	Requests int
	Per      time.Duration
}

// Unlimited reports whether l admits everything.
func (l Limit) Unlimited() bool { return l.Requests <= 0 || l.Per <= 0 }

// most keeps all arithmetic far from overflow: 36 years, or as many requests as nanoseconds in them.
const most = math.MaxInt64 / 8

func (l Limit) count() int64 { return min(int64(l.Requests), most) }

// interval is the time that one request uses up: Per divided by Requests, rounded up to a whole nanosecond, so that
// rounding never admits more than the limit says.
func (l Limit) interval() int64 { return (min(int64(l.Per), most)-1)/l.count() + 1 }

// spans are the interval and the time that a full burst uses up: Per, or up to one nanosecond a request more.
func (l Limit) spans() (interval, window int64) {
	interval = l.interval()
	return interval, interval * l.count()
}

// String is the inverse of ParseRate: "60/m", "5/30s", "unlimited".
func (l Limit) String() string {
	if l.Unlimited() {
		return "unlimited"
	}
	unit := l.Per.String()
	switch l.Per {
	case time.Second:
		unit = "s"
	case time.Minute:
		unit = "m"
	case time.Hour:
		unit = "h"
	case day:
		unit = "d"
	}
	return strconv.Itoa(l.Requests) + "/" + unit
}

// ParseRate reads a limit as people write it: a whole number from 1 to MaxRequests, a slash, and s, m, h, d or a Go
// duration from MinPer to MaxPer ("60/m", "5/30s", "1000/1h30m"), or the word "unlimited". Its error names the input
// and gives an example.
func ParseRate(s string) (Limit, error) {
	if s == "unlimited" {
		return Limit{}, nil
	}
	count, unit, found := strings.Cut(s, "/")
	if !found {
		return Limit{}, rateError(s, "it has no slash")
	}
	n, err := strconv.ParseUint(count, 10, 64)
	if err != nil || n < 1 || n > MaxRequests {
		return Limit{}, rateError(s, fmt.Sprintf("the number of requests must be a whole number from 1 to %d", MaxRequests))
	}
	per, err := parsePer(unit)
	if err != nil || per < MinPer || per > MaxPer {
		return Limit{}, rateError(s, "the time must be s, m, h, d or a duration from 1ms to 366 days")
	}
	return Limit{Requests: int(n), Per: per}, nil
}

func parsePer(unit string) (time.Duration, error) {
	switch unit {
	case "s":
		return time.Second, nil
	case "m":
		return time.Minute, nil
	case "h":
		return time.Hour, nil
	case "d":
		return day, nil
	}
	return time.ParseDuration(unit)
}

func rateError(input, why string) error {
	const longest = 64
	if len(input) > longest {
		input = input[:longest] + "..."
	}
	return fmt.Errorf(`rate %q: %s; write for example "60/m", "10/30s" or "unlimited"`, input, why)
}
