package gateway

import (
	"cmp"
	"context"
	"time"

	"apibuilder/store"
)

// Timeouts bound the waits of one request. A zero field means its default. docs/limits.md has the same table for operators.
type Timeouts struct {
	// Connect bounds the wait for a connection to the program: its backlog may be full. Default 10s.
	Connect time.Duration
	// FirstByte bounds the wait for the program's response header. While a body is being uploaded it starts again with
	// each piece. Default 60s.
	FirstByte time.Duration
	// Upload bounds the wait for the next piece of a request body that the program wants. Default 60s.
	Upload time.Duration
	// Stream ends an answer or an upgraded connection on which nothing moved for so long. Default 5m.
	Stream time.Duration
	// Total bounds a request from its arrival at the program to the last byte of the answer. Default: none.
	Total time.Duration
	// Queue bounds the wait for a place among an API's requests. Default 10s.
	Queue time.Duration
}

func (t Timeouts) withDefaults() Timeouts {
	return Timeouts{
		Connect:   cmp.Or(t.Connect, 10*time.Second),
		FirstByte: cmp.Or(t.FirstByte, 60*time.Second),
		Upload:    cmp.Or(t.Upload, 60*time.Second),
		Stream:    cmp.Or(t.Stream, 5*time.Minute),
		Total:     t.Total,
		Queue:     cmp.Or(t.Queue, 10*time.Second),
	}
}

// of are the timeouts of an API: its own, where its owner has set them.
func (t Timeouts) of(o *store.Options) Timeouts {
	return Timeouts{
		Connect:   cmp.Or(o.ConnectTimeout, t.Connect),
		FirstByte: cmp.Or(o.RequestTimeout, t.FirstByte),
		Upload:    cmp.Or(o.UploadTimeout, t.Upload),
		Stream:    cmp.Or(o.StreamTimeout, t.Stream),
		Total:     cmp.Or(o.TotalTimeout, t.Total),
		Queue:     cmp.Or(o.QueueTimeout, t.Queue),
	}
}

// tripContext is the context of a request to a program, with what the Transport needs to know besides.
type tripContext struct {
	*lifetime
	sender  sender
	connect time.Duration // bounds the wait for a connection
	fields  *fieldList    // for those of the response, informational ones too
	inform  informer      // nil: nobody wants informational responses
	room    *trip         // for the trip; nil: there is none
	parting *parting      // gets connections on which the program may still be at work; nil: nobody does
}

// sender writes a request's header straight to where it is sent from: to put it together in a http.Header first would cost more
// than the rest of sending it.
type sender interface {
	// appendHeader appends all fields but Host and the framing. It may be called again, for another connection.
	appendHeader(b []byte) ([]byte, error)
}

// informer gets the informational responses (RFC 9110, 15.2) to a request, in RoundTrip's goroutine. An error ends the trip.
type informer interface {
	// inform finds the header in the tripContext.
	inform(status int) error
}

// asker is a request's body that is told when the program wants it, in RoundTrip's goroutine: it must not be read before to find out.
type asker interface{ ask() }

type tripKey struct{}

// Value implements context.Context.
func (c *tripContext) Value(key any) any {
	if key == (tripKey{}) {
		return c
	}
	return c.lifetime.Value(key)
}

// tripOf is nil for a request that is not the gateway's.
func tripOf(ctx context.Context) *tripContext {
	c, _ := ctx.Value(tripKey{}).(*tripContext)
	return c
}

// connectLimit is the Connect timeout of a request; the default when it has none.
func connectLimit(ctx context.Context) time.Duration {
	var limit time.Duration
	if c := tripOf(ctx); c != nil {
		limit = c.connect
	}
	return cmp.Or(limit, Timeouts{}.withDefaults().Connect)
}
