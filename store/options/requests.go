package options

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"apibuilder/store"
)

const (
	mostRequests = 1_000_000
	leastHead    = 128
)

// requestSettings bound one request, and how many there are.
var requestSettings = []Option{
	wait("connect-timeout", "time to get a connection to the program",
		func(o *store.Options) *time.Duration { return &o.ConnectTimeout }),
	wait("upload-timeout", "time for the next piece of a request body that the program wants",
		func(o *store.Options) *time.Duration { return &o.UploadTimeout }),
	wait("stream-timeout", "time after which an answer or a WebSocket on which nothing moved is ended",
		func(o *store.Options) *time.Duration { return &o.StreamTimeout }),
	wait("total-timeout", "time from a request's arrival at the program to the last byte of its answer, WebSockets too",
		func(o *store.Options) *time.Duration { return &o.TotalTimeout }),
	wait("queue-timeout", "time that a request may wait for a place",
		func(o *store.Options) *time.Duration { return &o.QueueTimeout }),
	duration("drain-timeout", "`--drain-timeout` of the server, which alone holds when the server ends",
		"time for requests under way when their version or instance ends", time.Millisecond, time.Hour,
		func(o *store.Options) *time.Duration { return &o.DrainTimeout }),
	of("max-body", "SIZE", "`--max-body` of the server, which is also the most", "largest request body",
		func(o *store.Options) *int64 { return &o.MaxBody }, parseSize, sizeText),
	of("max-header", "SIZE", "`--max-header` of the server, which is also the most", "request line and header fields together",
		func(o *store.Options) *int64 { return &o.MaxHeader }, parseHeadSize, sizeText),
	of("max-url", "SIZE", "`--max-url` of the server, which is also the most", "address of a request, as it is called",
		func(o *store.Options) *int64 { return &o.MaxURL }, parseHeadSize, sizeText),
	count("max-requests", "`--max-requests-per-api` of the server, which is also the most",
		"requests that are with the program at a time; others wait", func(o *store.Options) *int { return &o.MaxRequests }),
	count("max-requests-per-key", "`--max-requests-per-key` of the server, which is also the most",
		"requests of one key at a time; others get 429", func(o *store.Options) *int { return &o.MaxRequestsPerKey }),
	count("queue", "`--queue` of the server", "requests that may wait for a place; others get 503",
		func(o *store.Options) *int { return &o.Queue }),
}

// wait is a setting whose default is the server's setting of the same name.
func wait(name, usage string, field func(*store.Options) *time.Duration) Option {
	return duration(name, "`--"+name+"` of the server", usage, time.Millisecond, 24*time.Hour, field)
}

func count(name, standard, usage string, field func(*store.Options) *int) Option {
	return of(name, "N", standard, usage, field, func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > mostRequests {
			return 0, fmt.Errorf("%q is no number from 1 to %d", text, mostRequests)
		}
		return n, nil
	}, strconv.Itoa)
}

var sizeUnits = []struct {
	letter string
	bytes  int64
}{{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"", 1}}

// parseSize reads bytes, with K, M or G for powers of 1024.
func parseSize(text string) (int64, error) {
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(strings.ToUpper(text), unit.letter)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 1 || n > (1<<50)/unit.bytes {
			break
		}
		return n * unit.bytes, nil
	}
	return 0, fmt.Errorf("%q is no size: write for example 512K, 20M or 1G", text)
}

// parseHeadSize is parseSize for what every request has: below leastHead hardly any would be served.
func parseHeadSize(text string) (int64, error) {
	n, err := parseSize(text)
	if err == nil && n < leastHead {
		err = fmt.Errorf("%q is less than %d bytes", text, leastHead)
	}
	return n, err
}

func sizeText(n int64) string {
	for _, unit := range sizeUnits {
		if n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + unit.letter
		}
	}
	return ""
}
