// Package pace keeps work that nobody waits for out of the way of what somebody does wait for: a thread that works for milliseconds keeps
// one of few processors from requests and from programs, however many goroutines could go on.
package pace

import (
	"context"
	"time"
)

// rest is how long a break lasts. What works for a tenth of a millisecond between two uses a sixth of a processor.
const rest = 500 * time.Microsecond

type patientKey struct{}

// Patient marks work as what nobody waits for, and which therefore takes breaks.
func Patient(ctx context.Context) context.Context { return context.WithValue(ctx, patientKey{}, true) }

// Break sleeps for half a millisecond in work that was marked as Patient, and does nothing in other work. Call it after some 100 us of
// computing. Safe for concurrent use.
func Break(ctx context.Context) {
	if ctx.Value(patientKey{}) != nil {
		time.Sleep(rest)
	}
}

// roundsAtOnce are those of a loop that looks at a record, or makes one, in some tenths of a microsecond to one.
const roundsAtOnce = 100

// Round is Break for such a loop, of which i is a round, counted from 0: each hundredth takes one.
func Round(ctx context.Context, i int) {
	if i%roundsAtOnce == roundsAtOnce-1 {
		Break(ctx)
	}
}
