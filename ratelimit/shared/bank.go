// Package shared counts requests over several nodes, exactly: together they never admit more than one in-process
// ratelimit.Limiter would, whichever nodes die, however late answers come, and whatever the nodes' clocks say. A Bank keeps one
// row for each limit, with GCRA's state by the bank's clock. A node leases permits from it, a few in advance, and admits
// requests with them while the lease is valid; what it does not use by then is lost.
//
// Why it is exact: a lease is valid for a time V on the node's clock, which begins before the question is sent. So permits
// that the bank gives at g are used in [g, g+V], and requests admitted in a span w were given by the bank in a span of w+V.
// The bank makes up for this V: a limit whose quota is full gives its whole burst, but whatever is given begins to come back V
// later (Lease has the rule, docs/decisions/0036 the proof).
package shared

import (
	"context"
	"time"
)

// Ask is a question for permits.
type Ask struct {
	Name  string        // of what is counted
	Step  time.Duration // in which one permit comes back
	Burst int64         // permits of a full quota
	Valid time.Duration // how long the node may use what it gets
	Want  int64         // at least 1
}

// Grant is the answer to one Ask.
type Grant struct {
	Granted int64         // 0 to Want
	Left    int64         // permits that are left after it
	Retry   time.Duration // until there is one, 0 when Left is not
	Full    time.Duration // until all will have come back
}

// Bank gives permits. Be full the time at which a quota is full again, at first in the past, and now the bank's clock when the
// row is locked. There are Burst permits when full is not after now, else (now + Burst*Step - full) / Step, rounded down.
// After a grant of k, full is max(full, now+Valid) + k*Step. A full that lies further ahead than a whole burst and
// the longest Valid is cut to that. A Bank may be used concurrently.
type Bank interface {
	// Lease answers all questions, in their order, or none. The names of one call differ.
	Lease(ctx context.Context, asks []Ask) ([]Grant, error)
}

// LongestValid bounds how long a node may use permits.
const LongestValid = 2 * time.Second
