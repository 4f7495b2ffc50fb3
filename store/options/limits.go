package options

import (
	"fmt"
	"strconv"

	"apibuilder/ratelimit"
	"apibuilder/store"
)

// mostQuota is far more than anybody serves, and far from what a counter holds.
const mostQuota = 1_000_000_000_000_000

// quota is a setting that is a number of requests.
func quota(name, standard, usage string, field func(*store.Options) *int64) Option {
	return of(name, "N", standard, usage, field, func(text string) (int64, error) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 || n > mostQuota {
			return 0, fmt.Errorf("%q is no number of requests from 1 to %d", text, int64(mostQuota))
		}
		return n, nil
	}, func(n int64) string { return strconv.FormatInt(n, 10) })
}

// rate is a setting that is a number of requests in a time.
func rate(name, standard, usage string, field func(*store.Options) *store.Rate) Option {
	return of(name, "RATE", standard, usage, field, func(text string) (store.Rate, error) {
		l, err := ratelimit.ParseRate(text)
		return store.Rate{Requests: l.Requests, Per: l.Per}, err
	}, func(r store.Rate) string { return ratelimit.Limit{Requests: r.Requests, Per: r.Per}.String() })
}
