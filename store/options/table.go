package options

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"apibuilder/egress"
	"apibuilder/store"
)

// table has every setting; a new one is a field of store.Options and an entry here.
var table = slices.Concat([]Option{
	of("egress", "LIST", "none", "what the program may reach outside: none, internet, or targets like api.stripe.com:443, *.supabase.co:443, "+
		"apart by commas, within what the operator allows; see docs/egress.md",
		func(o *store.Options) *string { return &o.Egress }, parseEgress, func(s string) string { return s }),
	duration("request-timeout", "`--request-timeout` of the server", "time that the program may take to begin its answer",
		time.Millisecond, 24*time.Hour, func(o *store.Options) *time.Duration { return &o.RequestTimeout }),
	quota("quota", "no limit", "requests of all consumers together in a calendar month, UTC; more are refused with `over_quota`",
		func(o *store.Options) *int64 { return &o.Quota }),
	rate("rate-per-address", "no limit", "rate of each client's address that calls without a key, as 60/m or 10/30s; IPv6 by /64",
		func(o *store.Options) *store.Rate { return &o.RatePerAddress }),
}, requestSettings, instanceSettings, healthSettings, buildSettings, logSettings, edge)

var buildSettings = []Option{
	of("sdists", "NAMES", "wheels only", "packages to build from source, apart by commas, or all that have no wheel: all; where the operator "+
		"allows it, from the next deploy on", func(o *store.Options) *string { return &o.Sdists }, parseNames,
		func(s string) string { return s }),
}

var healthSettings = []Option{
	of("health-path", "PATH", "none", "path that answers a GET with a status from 200 to 399 while the program is well, from its next start on",
		func(o *store.Options) *string { return &o.HealthPath }, parsePath, func(s string) string { return s }),
	duration("health-interval", "10s", "time between two looks at `health-path`",
		100*time.Millisecond, time.Hour, func(o *store.Options) *time.Duration { return &o.HealthInterval }),
	duration("health-timeout", "5s", "time that `health-path` may take to answer",
		10*time.Millisecond, 5*time.Minute, func(o *store.Options) *time.Duration { return &o.HealthTimeout }),
	number("health-failures", "3", "failed looks in a row after which the program is replaced as `unhealthy`", 1, 100,
		func(o *store.Options) *int { return &o.HealthFailures }),
}

var projectNames = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(,[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)*$`)

// parseNames reads names of packages apart by commas.
func parseNames(text string) (string, error) {
	text = strings.ReplaceAll(text, " ", "")
	if len(text) > 2000 || !projectNames.MatchString(text) {
		return "", fmt.Errorf("%q are not names of packages apart by commas", text)
	}
	return text, nil
}

// parseEgress returns a policy as it reads best.
func parseEgress(text string) (string, error) {
	p, err := egress.Parse(text)
	if err == nil && len(p.String()) > mostEgress {
		err = fmt.Errorf("it is longer than %d characters", mostEgress)
	}
	return p.String(), err
}

const mostEgress = 8 << 10

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

// number is a setting that is a whole number from least to most, which are not 0.
func number(name, standard, usage string, least, most int, field func(*store.Options) *int) Option {
	return of(name, "NUMBER", standard, usage, field, func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("%q is no number from %d to %d", text, least, most)
		}
		return n, nil
	}, strconv.Itoa)
}

// parsePath reads the path of an address, with a query where one is wanted.
func parsePath(text string) (string, error) {
	u, err := url.ParseRequestURI(text)
	if err != nil || !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") || strings.ContainsAny(text, "#\\") || len(text) > 1024 {
		return "", fmt.Errorf("%q is no path: write for example /health", text)
	}
	return u.RequestURI(), nil
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
