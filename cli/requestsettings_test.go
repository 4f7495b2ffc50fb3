package cli

import (
	"testing"
	"time"

	"apibuilder/gateway"
)

// TestRequestSettingsAreRead has each limit of requests reach its own field: all at once, and one after the other beside the defaults.
func TestRequestSettingsAreRead(t *testing.T) {
	read := func(args ...string) requestOptions {
		t.Helper()
		return readAs(t, readRequestOptions, args...)
	}
	want := requestOptions{
		times: gateway.Timeouts{
			Connect: time.Second, FirstByte: 2 * time.Second, Upload: 3 * time.Second, Stream: 4 * time.Second, Total: 5 * time.Second, Queue: 6 * time.Second,
		},
		limits: gateway.Limits{HeaderBytes: 7 << 10, URLBytes: 8 << 10, BodyBytes: 9 << 10, Requests: 10, APIRequests: 11, KeyRequests: 12, Queue: 13},
	}
	one := read()
	defaults := one
	args := []string{}
	for _, c := range []struct {
		flag, text string
		change     func(o *requestOptions)
	}{
		{"connect-timeout", "1s", func(o *requestOptions) { o.times.Connect = want.times.Connect }},
		{"request-timeout", "2s", func(o *requestOptions) { o.times.FirstByte = want.times.FirstByte }},
		{"upload-timeout", "3s", func(o *requestOptions) { o.times.Upload = want.times.Upload }},
		{"stream-timeout", "4s", func(o *requestOptions) { o.times.Stream = want.times.Stream }},
		{"total-timeout", "5s", func(o *requestOptions) { o.times.Total = want.times.Total }},
		{"queue-timeout", "6s", func(o *requestOptions) { o.times.Queue = want.times.Queue }},
		{"max-header", "7K", func(o *requestOptions) { o.limits.HeaderBytes = want.limits.HeaderBytes }},
		{"max-url", "8K", func(o *requestOptions) { o.limits.URLBytes = want.limits.URLBytes }},
		{"max-body", "9K", func(o *requestOptions) { o.limits.BodyBytes = want.limits.BodyBytes }},
		{"max-requests", "10", func(o *requestOptions) { o.limits.Requests = want.limits.Requests }},
		{"max-requests-per-api", "11", func(o *requestOptions) { o.limits.APIRequests = want.limits.APIRequests }},
		{"max-requests-per-key", "12", func(o *requestOptions) { o.limits.KeyRequests = want.limits.KeyRequests }},
		{"queue", "13", func(o *requestOptions) { o.limits.Queue = want.limits.Queue }},
	} {
		one = defaults
		c.change(&one)
		if got := read("--"+c.flag, c.text); got != one {
			t.Errorf("--%s %s: %+v, want %+v", c.flag, c.text, got, one)
		}
		args = append(args, "--"+c.flag, c.text)
	}
	if got := read(args...); got != want {
		t.Errorf("all at once: %+v, want %+v", got, want)
	}
}
