package options

import (
	"fmt"
	"time"

	"apibuilder/store"
)

// table has every setting; a new one is a field of store.Options and an entry here.
var table = []Option{
	duration("request-timeout", "`--request-timeout` of the server", "time that the program may take to begin its answer",
		time.Millisecond, 24*time.Hour, func(o *store.Options) *time.Duration { return &o.RequestTimeout }),
	quota("quota", "no limit", "requests of all consumers together in a calendar month, UTC; more are refused with `over_quota`",
		func(o *store.Options) *int64 { return &o.Quota }),
	rate("rate-per-address", "no limit", "rate of each client's address that calls without a key, as 60/m or 10/30s; IPv6 by /64",
		func(o *store.Options) *store.Rate { return &o.RatePerAddress }),
}

// duration is a setting that is a time between least and most.
func duration(name, standard, usage string, least, most time.Duration, field func(*store.Options) *time.Duration) Option {
	return of(name, "TIME", standard, usage, field, func(text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		if err != nil || d < least || d > most {
			return 0, fmt.Errorf("%q is no time from %s to %s", text, least, most)
		}
		return d, nil
	}, time.Duration.String)
}

// of is a setting of any comparable type whose zero value means that it is not made.
func of[T comparable](
	name, value, standard, usage string, field func(*store.Options) *T, parse func(string) (T, error), text func(T) string,
) Option {
	var zero T
	return Option{
		Name: name, Value: value, Default: standard, Usage: usage,
		set: func(o *store.Options, s string) error {
			v, err := parse(s)
			if err == nil {
				*field(o) = v
			}
			return err
		},
		get: func(o store.Options) string {
			if v := *field(&o); v != zero {
				return text(v)
			}
			return ""
		},
		unset: func(o *store.Options) { *field(o) = zero },
	}
}
