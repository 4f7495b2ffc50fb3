package options

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"apibuilder/store"
)

const (
	leastLogSize, mostLogSize = 64 << 10, 1 << 40
	leastLogAge, mostLogAge   = time.Minute, 3650 * 24 * time.Hour
)

var logSettings = []Option{
	of("log-size", "SIZE", "`--log-size` of the server, which is also the most", "how much is kept of what the program prints and what happens to it",
		func(o *store.Options) *int64 { return &o.LogSize }, parseLogSize, sizeText),
	of("log-age", "TIME", "`--log-age` of the server, which is also the most", "for how long it is kept, as 12h or 7d",
		func(o *store.Options) *time.Duration { return &o.LogAge }, parseLogAge, time.Duration.String),
}

func parseLogSize(text string) (int64, error) {
	n, err := parseSize(text)
	if err == nil && (n < leastLogSize || n > mostLogSize) {
		err = fmt.Errorf("%q is no size from 64K to 1024G", text)
	}
	return n, err
}

// parseLogAge reads a time, also in days.
func parseLogAge(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if number, isDays := strings.CutSuffix(text, "d"); isDays {
		var days int
		days, err = strconv.Atoi(number)
		d = time.Duration(min(max(days, 0), 4000)) * 24 * time.Hour
	}
	if err != nil || d < leastLogAge || d > mostLogAge {
		return 0, fmt.Errorf("%q is no time from 1m to 3650d", text)
	}
	return d, nil
}
