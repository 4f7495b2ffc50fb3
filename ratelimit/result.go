package ratelimit

import (
	"strconv"
	"time"
)

const inlineStates = 4 // checks that cost no allocation

// State is what one check came to.
type State struct {
	Policy    string
	Limit     Limit
	Remaining int           // requests that may come at once now
	Reset     time.Duration // until the quota is full again, if nobody uses it

	key           string
	used, charged int64 // nanoseconds ahead of now, before and after this request
	transient     bool
	at            int // its entry in the limiter, while that is locked; -1: to be looked for
}

// settle fills in what the caller sees of a quota that is used up for the time given.
func (s *State) settle(used int64) {
	interval, window := s.Limit.spans()
	s.Remaining = int((window - used) / interval)
	s.Reset = time.Duration(used)
}

// Result is the answer to one Allow.
type Result struct {
	Allowed bool
	// Denied is the check that takes longest to pass, the zero Check when Allowed.
	Denied Check
	// RetryAfter is how long to wait until all checks would pass; zero when Allowed.
	RetryAfter time.Duration
	// Unavailable says that the request is denied because nobody could count it, not because of a limit.
	Unavailable bool

	count  int
	inline [inlineStates]State
	more   []State // all of them, when inline is too small
}

// States returns the state of each check that has a limit, in the order of the call. The slice belongs to r.
func (r *Result) States() []State {
	if r.more != nil {
		return r.more
	}
	return r.inline[:r.count]
}

func (r *Result) add(s State) {
	switch {
	case r.more != nil:
		r.more = append(r.more, s)
	case r.count == inlineStates:
		r.more = append(append(make([]State, 0, 2*inlineStates), r.inline[:]...), s)
	default:
		r.inline[r.count] = s
	}
	r.count++
}

// withdraw makes the states of a denied request those before it, because it is not charged.
func (r *Result) withdraw() {
	states := r.States()
	for i := range states {
		states[i].settle(states[i].used)
	}
}

// Fields are the values of an answer's header fields RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers), and of
// Retry-After (RFC 9110, 10.2.3), in whole seconds.
type Fields struct{ Policy, Limit, RetryAfter string }

// Fields tells a consumer of the limits. RetryAfter is empty unless the request was denied, and then rounded up, at least 1. Without
// any limit all are empty.
func (r *Result) Fields() (f Fields) {
	states := r.States()
	if len(states) == 0 {
		return f
	}
	b := make([]byte, 0, 192)
	for i := range states {
		s := &states[i]
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendItem(b, s.Policy, 'q', s.Limit.Requests, 'w', s.Limit.Per)
	}
	policy := len(b)
	for i := range states {
		s := &states[i]
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendItem(b, s.Policy, 'r', s.Remaining, 't', s.Reset)
	}
	both := string(b) // one allocation for both fields
	f.Policy, f.Limit = both[:policy], both[policy:]
	if !r.Allowed {
		f.RetryAfter = strconv.FormatInt(max(seconds(r.RetryAfter), 1), 10)
	}
	return f
}

func appendItem(b []byte, policy string, countName byte, count int, timeName byte, d time.Duration) []byte {
	const largest = 999_999_999_999_999 // RFC 9651, 3.3.1: an integer has at most 15 digits
	b = appendQuoted(b, policy)
	b = append(b, ';', countName, '=')
	b = strconv.AppendInt(b, min(int64(count), largest), 10)
	b = append(b, ';', timeName, '=')
	return strconv.AppendInt(b, seconds(d), 10)
}

// appendQuoted writes a string of RFC 9651, 3.3.3: printable ASCII only, so anything else becomes a question mark.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case c < ' ' || c > '~':
			b = append(b, '?')
		default:
			b = append(b, byte(c))
		}
	}
	return append(b, '"')
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
