package gateway

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
)

// mostOrdered bounds what is looked through for each field; among more, no order is kept.
const mostOrdered = 100

// fieldOrder are the names of a request's fields in the order in which they came first, which an http.Header does not know. The zero value
// knows none, and a nil one never will; it must not be copied once names were added.
type fieldOrder struct {
	list []string
	room [fewFields]string
	many bool
}

// add adds a name that was not there, in its canonical form.
func (o *fieldOrder) add(name string) {
	switch {
	case o == nil || o.many:
		return
	case len(o.list) == mostOrdered:
		o.list, o.many = nil, true
		return
	case o.list == nil:
		o.list = o.room[:0]
	}
	o.list = append(o.list, name)
}

// each calls fn with the fields of h: those that came in their order, then what was added since, in any.
func (o *fieldOrder) each(h http.Header, fn func(name string, values []string)) {
	var list []string
	if o != nil {
		list = o.list
	}
	rest := len(h)
	for _, name := range list {
		if values, ok := h[name]; ok {
			rest--
			fn(name, values)
		}
	}
	if rest == 0 {
		return
	}
	for name, values := range h {
		if !slices.Contains(list, name) {
			fn(name, values)
		}
	}
}

// readOrder knows the names in the next request's head alone, if all of that is in r's buffer, or comes to be there: it waits for what does
// not come. Errors are left to whoever reads.
func (o *fieldOrder) readOrder(r *bufio.Reader) {
	o.list, o.many = nil, false
	for {
		there, _ := r.Peek(r.Buffered()) // no more than there is: no error
		if size, lines := headSize(there); lines > 0 {
			o.addLines(there[:size])
			return
		}
		if r.Buffered() == r.Size() {
			return
		}
		if _, err := r.Peek(r.Buffered() + 1); err != nil {
			return
		}
	}
}

// undoPragma removes the Cache-Control that net/http adds for a Pragma: no-cache, where it is known that none came.
func (o *fieldOrder) undoPragma(h http.Header) {
	const added = "Cache-Control"
	if h["Pragma"] != nil && len(o.list) > 0 && !slices.Contains(o.list, added) {
		delete(h, added)
	}
}

// addLines adds the names in a head, behind its first line.
func (o *fieldOrder) addLines(head []byte) {
	_, rest, _ := bytes.Cut(head, []byte("\r\n"))
	for len(rest) > 0 && !o.many {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, _, _ := bytes.Cut(line, []byte(":"))
		if key := http.CanonicalHeaderKey(string(name)); !slices.Contains(o.list, key) {
			o.add(key)
		}
	}
}
