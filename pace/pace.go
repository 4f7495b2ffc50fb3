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

// Every is Break for a loop: it takes one each so many rounds, of which i is the number of one, counted from 0.
func Every(ctx context.Context, rounds, i int) {
	if i%rounds == rounds-1 {
		Break(ctx)
	}
}
