package gateway

import (
	"strings"
	"sync/atomic"
)

// longestKept is more than any text has that is worth it; a connection keeps no others.
const longestKept = 300

// lastText knows what was made of the text that it was asked for last. Nearly all requests of a connection have the same key and the same
// Host. It may be used concurrently; the zero value knows nothing.
type lastText[T any] struct{ known atomic.Pointer[knownText[T]] }

type knownText[T any] struct {
	text  string
	value T
}

// same takes as long wherever two texts of one length differ (crypto/subtle takes no strings): behind a proxy, a connection has requests of others,
// who are not to find the key of the one before, letter by letter.
func same(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	var different byte
	for i := range len(a) {
		different |= a[i] ^ b[i]
	}
	return different == 0
}

// value is what find makes of a text, which must be the same each time.
func (l *lastText[T]) value(text string, find func(text string) T) T {
	if len(text) > longestKept {
		return find(text)
	}
	known := l.known.Load()
	if known == nil || !same(known.text, text) {
		text = strings.Clone(text) // not with all of the request's head
		known = &knownText[T]{text, find(text)}
		l.known.Store(known)
	}
	return known.value
}

// forget has nothing be kept any more, until the next text.
func (l *lastText[T]) forget() { l.known.Store(nil) }
