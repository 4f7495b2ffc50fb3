package ratelimit

import "time"

// Interval is the time that one request uses up, rounded up to a whole nanosecond. The limit must not be unlimited.
func (l Limit) Interval() time.Duration { return time.Duration(l.interval()) }

// Burst is how many requests may come at once. The limit must not be unlimited.
func (l Limit) Burst() int64 { return l.count() }

// Append adds what a check came to. Another limiter than this package's composes its results so.
func (r *Result) Append(s State) { r.add(s) }

// Deny makes r the denial of a request that check keeps back for so long, unless another keeps it back for longer.
func (r *Result) Deny(check Check, wait time.Duration) {
	if r.Denied == (Check{}) || wait > r.RetryAfter {
		r.RetryAfter, r.Denied = wait, check
	}
	r.Allowed = false
}
