package cli

import (
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/gateway"
)

// requestSettings bound requests of consumers; docs/limits.md explains them.
var requestSettings = []setting{
	{flag: "connect-timeout", serve: true, value: "10s", usage: "`TIME` to get a connection to a program"},
	{flag: "upload-timeout", serve: true, value: "60s", usage: "`TIME` for the next piece of a request body"},
	{flag: "stream-timeout", serve: true, value: "5m", usage: "`TIME` after which an answer or a WebSocket on which nothing moved is ended"},
	{flag: "total-timeout", serve: true, usage: "`TIME` for a whole request; no bound if empty"},
	{flag: "queue-timeout", serve: true, value: "10s", usage: "`TIME` that a request may wait for a place"},
	{flag: "max-header", serve: true, value: "64K", usage: "largest header of a request, a `SIZE`"},
	{flag: "max-url", serve: true, value: "16K", usage: "longest address of a request, a `SIZE`"},
	{flag: "max-requests", serve: true, usage: "most requests at a time in all, a `NUMBER`; what the limit of open files allows if empty"},
	{flag: "max-requests-per-api", serve: true, usage: "most requests with one program at a time, a `NUMBER`; no bound if empty"},
	{flag: "max-requests-per-key", serve: true, usage: "most requests of one key at a time, a `NUMBER`; no bound if empty"},
	{flag: "queue", serve: true, value: "100", usage: "most requests that wait for a place of an API, a `NUMBER`"},
}

// requestOptions are those settings, read.
type requestOptions struct {
	times  gateway.Timeouts
	limits gateway.Limits
}

func readRequestOptions(s settings) (o requestOptions, err error) {
	for flag, field := range map[string]*time.Duration{
		"connect-timeout": &o.times.Connect, "request-timeout": &o.times.FirstByte, "upload-timeout": &o.times.Upload,
		"stream-timeout": &o.times.Stream, "total-timeout": &o.times.Total, "queue-timeout": &o.times.Queue,
	} {
		if *field, err = parse(s, flag, parseTimeout); err != nil {
			return o, err
		}
	}
	for flag, field := range map[string]*int{
		"max-requests": &o.limits.Requests, "max-requests-per-api": &o.limits.APIRequests,
		"max-requests-per-key": &o.limits.KeyRequests, "queue": &o.limits.Queue,
	} {
		if *field, err = parse(s, flag, parseCount); err != nil {
			return o, err
		}
	}
	for flag, field := range map[string]*int{"max-header": &o.limits.HeaderBytes, "max-url": &o.limits.URLBytes} {
		if *field, err = parse(s, flag, parseHeadSize); err != nil {
			return o, err
		}
	}
	if o.limits.BodyBytes, err = parse(s, "max-body", parseSize); err != nil {
		return o, err
	}
	if o.limits.Requests == 0 {
		o.limits.Requests, err = requestsByFiles()
	}
	return o, err
}

// parseHeadSize bounds what a connection may make the server hold.
func parseHeadSize(text string) (int, error) {
	const least, most = 1 << 10, 1 << 20
	n, err := parseSize(text)
	if err != nil {
		return 0, err
	}
	if n < least || n > most {
		return 0, fmt.Errorf("%s is not from 1K to 1M", strconv.Quote(text))
	}
	return int(n), nil
}

// openFiles is how many descriptors this process may have.
func openFiles() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("ask for the limit of open files: %w", err)
	}
	const most = 2 << 20
	return int(min(limit.Max, most)), nil
}

// requestsByFiles is how many requests fit into the limit of open files: each takes two, and a part is for all else.
func requestsByFiles() (int, error) {
	files, err := openFiles()
	return files * 9 / 10 / 2, err
}
