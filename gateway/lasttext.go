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

// value is what find makes of a text, which must be the same each time.
func (l *lastText[T]) value(text string, find func(text string) T) T {
	if len(text) > longestKept {
		return find(text)
	}
	known := l.known.Load()
	if known == nil || known.text != text {
		text = strings.Clone(text) // not with all of the request's head
		known = &knownText[T]{text, find(text)}
		l.known.Store(known)
	}
	return known.value
}
