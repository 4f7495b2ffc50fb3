package gateway

import (
	"cmp"
	"net/http"

	"apibuilder/store"
)

// Limits bound what requests may be and how many there are at a time. A zero field means its default, which is no bound
// where none is named.
type Limits struct {
	// HeaderBytes bounds the request line and the header fields of a request, together. Default 64 KiB.
	HeaderBytes int
	// URLBytes bounds the request target. Default 16 KiB.
	URLBytes int
	// BodyBytes is the largest request body.
	BodyBytes int64
	// Requests is how many requests there are in all, those that wait in queues too. No API gets more than are left free:
	// see admission.
	Requests int
	// APIRequests is how many requests of one API are with its program at a time; others wait in its queue.
	APIRequests int
	// KeyRequests is how many requests of one key there are at a time.
	KeyRequests int
	// Queue is how many requests of one API may wait for a place. Default 100; negative: none.
	Queue int
}

func (l Limits) withDefaults() Limits {
	l.HeaderBytes, l.URLBytes = cmp.Or(l.HeaderBytes, headerBytes), cmp.Or(l.URLBytes, urlBytes)
	l.Queue = max(cmp.Or(l.Queue, 100), 0)
	return l
}

// of are the limits of an API. Its owner may make the operator's tighter, not wider; only the queue is the owner's alone.
func (l Limits) of(o *store.Options) Limits {
	l.BodyBytes = tighter(l.BodyBytes, o.MaxBody)
	l.HeaderBytes, l.URLBytes = tighter(l.HeaderBytes, int(o.MaxHeader)), tighter(l.URLBytes, int(o.MaxURL))
	l.APIRequests = tighter(l.APIRequests, o.MaxRequests)
	l.KeyRequests = tighter(l.KeyRequests, o.MaxRequestsPerKey)
	l.Queue = cmp.Or(o.Queue, l.Queue)
	return l
}

// refuses returns the word for a request whose head is too large for an API, or nothing. What is too large for the server is
// refused before anybody knows whom it is for: these are the limits of whoever has tighter ones.
func (l Limits) refuses(r *http.Request, o *store.Options) string {
	switch {
	case o.MaxURL > 0 && len(r.RequestURI) > l.URLBytes:
		return wordURLTooLong
	case o.MaxHeader > 0 && headBytes(r) > l.HeaderBytes:
		return wordHeaderTooLarge
	}
	return ""
}

// exceeded reports whether a head with these fields and so many bytes is more than the server takes.
func (l Limits) exceeded(h http.Header, bytes int) bool {
	fields := 1 // Host
	for _, values := range h {
		fields += len(values)
	}
	return fields > mostRequestFields || bytes > l.HeaderBytes
}

// headBytes is how large the head of r is in HTTP/1.1, with one space after each colon.
func headBytes(r *http.Request) int {
	n := len(r.Method) + len(r.RequestURI) + len("  HTTP/1.1\r\n\r\n")
	if r.Host != "" {
		n += len("Host: \r\n") + len(r.Host)
	}
	for name, values := range r.Header {
		for _, value := range values {
			n += len(name) + len(value) + len(": \r\n")
		}
	}
	return n
}

// tighter is the smaller one of two bounds, of which 0 is none.
func tighter[T int | int64](a, b T) T {
	if a > 0 && b > 0 {
		return min(a, b)
	}
	return max(a, b)
}
