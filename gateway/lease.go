package gateway

import (
	"context"
	"net/http"
	"time"

	"apibuilder/sandbox"
)

// Sandboxes lends running sandboxes.
type Sandboxes interface {
	// Acquire returns a sandbox of the API's active version, started if need be. Errors: a *sandbox.Exit when it did not
	// start, sandbox.ErrNoRoom, sandbox.ErrStopped, store.ErrNotFound when the API is gone, store.ErrUnavailable when nobody knows what to
	// run, the context's error.
	Acquire(ctx context.Context, apiID string) (Lease, error)
}

// Lease is one running sandbox, held for one request. Its methods are called from one goroutine.
type Lease interface {
	// RoundTrip sends to the program in that sandbox as a Transport does: make it with NewTransport, and give it the request with
	// its context, in which the Transport finds the header. When
	// the sandbox dies, its connections must break, those that it has not accepted yet too.
	http.RoundTripper
	// Version is the API's version that runs in it.
	Version() int
	// StartWait is how long Acquire waited for a start; zero when it was running.
	StartWait() time.Duration
	// Startup tells of the start that this sandbox had, whoever waited for it.
	Startup() sandbox.Startup
	// CPUShare counts, from anywhere, what of the sandbox's CPU time has fallen to each request in flight.
	CPUShare() time.Duration
	// Exit waits until the sandbox is known to be dead and says how it died; nil when ctx ends first: it lives.
	Exit(ctx context.Context) *sandbox.Exit
	// Suspect says that a request timed out: the sandbox should be probed, and replaced when it does not answer.
	Suspect()
	// Release gives it back. It is called once, after all else.
	Release()
}
