package options

import (
	"fmt"
	"time"

	"apibuilder/egress"
	"apibuilder/store"
)

// table has every setting; a new one is a field of store.Options and an entry here.
var table = []Option{
	of("egress", "LIST", "none", "what the program may reach outside: none, internet, or targets like api.stripe.com:443, *.supabase.co:443, "+
		"apart by commas, within what the operator allows; see docs/egress.md",
		func(o *store.Options) *string { return &o.Egress }, parseEgress, func(s string) string { return s }),
	duration("request-timeout", "`--request-timeout` of the server", "time that the program may take to begin its answer",
		time.Millisecond, 24*time.Hour, func(o *store.Options) *time.Duration { return &o.RequestTimeout }),
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
