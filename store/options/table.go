package options

import (
	"fmt"
	"strconv"
	"time"

	"apibuilder/store"
)

// table has every setting; a new one is a field of store.Options and an entry here.
var table = []Option{
	duration("request-timeout", "`--request-timeout` of the server", "time that the program may take to begin its answer",
		time.Millisecond, 24*time.Hour, func(o *store.Options) *time.Duration { return &o.RequestTimeout }),
	count("min-instances", "0", "instances that run although nobody calls; with isolation, sandboxes that are ready",
		0, mostInstances, func(o *store.Options) *int { return &o.MinInstances }),
	count("max-instances", "1, or 8 with isolation", "instances that run at most; a split gives each version its share, at least one",
		1, mostInstances, func(o *store.Options) *int { return &o.MaxInstances }),
	count("concurrency-target", "0, none", "requests in flight for each instance, above which one more is started",
		0, 10_000, func(o *store.Options) *int { return &o.ConcurrencyTarget }),
	of("isolation", "`none` or `request`", "`none`", "with `request` every request gets a fresh sandbox, which ends after it",
		func(o *store.Options) *store.Isolation { return &o.Isolation }, isolation,
		func(i store.Isolation) string { return string(i) }),
}

// mostInstances bounds what one owner may ask for; the node's places and memory bound all of them.
const mostInstances = 100

func isolation(text string) (store.Isolation, error) {
	switch text {
	case "none":
		return "", nil
	case string(store.IsolateRequests):
		return store.IsolateRequests, nil
	}
	return "", fmt.Errorf("%q is neither none nor request", text)
}

// count is a setting that is a number between least and most.
func count(name, standard, usage string, least, most int, field func(*store.Options) *int) Option {
	return of(name, "N", standard, usage, field, func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("%q is no number from %d to %d", text, least, most)
		}
		return n, nil
	}, strconv.Itoa)
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
