package gateway

import (
	"bytes"
	"strings"
)

const (
	mostRequestFields = 1000 // of one request

	preface       = "PRI * HTTP/2.0" // the line with which HTTP/2 begins (RFC 9113, 3.4)
	restOfPreface = "\r\nSM\r\n\r\n"
)

// guard watches the bytes of a consumer's connection before they are parsed, and knows where each request ends. It
// stops the connection at what RFC 9112 calls malformed or lets two readers understand differently: net/http repairs
// some of that silently, and what it repairs another server in front of us may have read otherwise. Nothing is buffered
// but an unfinished line.
//
// The zero value with its two limits set watches from the first byte of a connection. One goroutine uses it at a time.
type guard struct {
	mostHead   int // bytes of a request's line and fields
	mostTarget int // bytes of its target

	state guardState
	line  []byte // the beginning of a line whose end has not come
	head  int    // bytes of this head or trailer, whole lines
	count int    // of fields
	left  int64  // of the body or the chunk
	old   bool   // HTTP/1.0
	hosts int
	sizes int  // Content-Length fields
	chunk int  // Transfer-Encoding fields
	ws    bool // asks for WebSocket
	blank bool // an empty line was before it

	served bool // a request was before on the connection
}

type guardState int

const (
	atRequestLine guardState = iota
	atField
	atBody
	atChunkSize
	atChunk
	atChunkEnd
	atTrailer
	atPreface // behind its line
	atNothing // another protocol: not watched
)

// pass looks at what has arrived. It returns how many bytes may be read: all of them unless there is a word, which says
// what is wrong with the line that they leave without its end.
func (g *guard) pass(p []byte) (n int, word string) {
	for n < len(p) {
		switch g.state {
		case atNothing:
			return len(p), ""
		case atBody, atChunk:
			n += g.skip(len(p) - n)
			continue
		case atPreface: // another one would have what comes be read as HTTP/1, and nobody watch it
			if p[n] != restOfPreface[g.left] {
				return n, wordBadRequest
			}
			n++
			if g.left++; g.left == int64(len(restOfPreface)) {
				g.state = atNothing
			}
			continue
		}
		used, word := g.take(p[n:])
		if word != "" {
			return n + used - 1, word
		}
		n += used
	}
	return n, ""
}

// skip counts bytes of a body.
func (g *guard) skip(have int) int {
	if int64(have) < g.left {
		g.left -= int64(have)
		return have
	}
	used := int(g.left)
	g.left = 0
	if g.state == atChunk {
		g.state = atChunkEnd
	} else {
		g.begin()
	}
	return used
}

// begin waits for the next request.
func (g *guard) begin() {
	*g = guard{mostHead: g.mostHead, mostTarget: g.mostTarget, line: g.line[:0], served: true}
	if cap(g.line) > readBytes { // an idle connection holds little
		g.line = nil
	}
}

// take looks at a line, or at the part of one that is there.
func (g *guard) take(p []byte) (used int, word string) {
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		g.line = append(g.line, p...)
		if g.state == atRequestLine && !tokenBytes[g.line[0]] && string(g.line) != "\r" { // TLS, say: no end of a line may ever come
			return len(p), wordBadRequest
		}
		return len(p), g.tooLong(len(g.line))
	}
	line := p[:end+1]
	if len(g.line) > 0 {
		g.line = append(g.line, line...)
		line = g.line
	}
	if word = g.tooLong(len(line)); word == "" {
		word = g.read(line)
	}
	g.line = g.line[:0]
	if g.state == atNothing {
		g.line = nil
	}
	return end + 1, word
}

// tooLong bounds a head by its size, with a line of so many bytes in it.
func (g *guard) tooLong(line int) string {
	switch {
	case g.state == atRequestLine && line > g.mostTarget+longestMethod+len("  HTTP/1.1\r\n"):
		return wordURLTooLong
	case (g.state == atChunkSize || g.state == atChunkEnd) && line > longestChunkLine:
		return wordBadRequest
	case g.head+line > g.mostHead || g.count > mostRequestFields:
		return wordHeaderTooLarge
	}
	return ""
}

const longestMethod = 32

// read looks at a whole line.
func (g *guard) read(line []byte) string {
	text, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok {
		return wordBadRequest
	}
	g.head += len(line)
	switch g.state {
	case atRequestLine:
		if len(text) == 0 && !g.blank { // RFC 9112, 2.2
			g.head, g.blank = 0, true
			return ""
		}
		return g.requestLine(text)
	case atField:
		if len(text) == 0 {
			return g.endOfHead()
		}
		return g.field(text)
	case atChunkSize:
		size, ok := chunkSize(text)
		if !ok {
			return wordBadRequest
		}
		g.head, g.count = 0, 0
		g.left, g.state = size, atChunk
		if size == 0 {
			g.state = atTrailer
		}
	case atChunkEnd:
		if len(text) > 0 {
			return wordBadRequest
		}
		g.head, g.state = 0, atChunkSize
	case atTrailer:
		if len(text) == 0 {
			g.begin()
			return ""
		}
		g.count++
		if name, _, ok := splitField(text); !ok || framesMessage(name) {
			return wordBadRequest
		}
	}
	return ""
}

func (g *guard) requestLine(text []byte) string {
	if string(text) == preface && !g.served && !g.blank {
		g.state, g.left = atPreface, 0
		return ""
	}
	method, rest, ok1 := bytes.Cut(text, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	switch {
	case !ok1 || !ok2 || !isToken(method) || !isTarget(string(target)):
		return wordBadRequest
	case len(target) > g.mostTarget:
		return wordURLTooLong
	}
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		g.old = true
	default:
		return wordBadRequest
	}
	g.state = atField
	return ""
}

// splitField cuts name and value, without the white space around it. A line that is folded (RFC 9112, 5.2) or has a
// space before its colon (5.1) has no name.
func splitField(text []byte) (name, value []byte, ok bool) {
	name, value, ok = bytes.Cut(text, []byte(":"))
	value = trimSpace(value)
	return name, value, ok && isToken(name) && isFieldValue(value)
}

func (g *guard) field(text []byte) string {
	name, value, ok := splitField(text)
	if !ok {
		return wordBadRequest
	}
	g.count++
	switch len(name) {
	case len("Host"):
		if equalFold(name, "Host") {
			g.hosts++
		}
	case len("Upgrade"):
		g.ws = g.ws || equalFold(name, "Upgrade") && equalFold(value, webSocket)
	case len("Content-Length"):
		if !equalFold(name, "Content-Length") {
			return ""
		}
		g.sizes++
		if g.left, ok = parseLength(string(value)); !ok {
			return wordBadRequest
		}
	case len("Transfer-Encoding"):
		if !equalFold(name, "Transfer-Encoding") {
			return ""
		}
		g.chunk++
		if !equalFold(value, "chunked") {
			return wordCodingNotSupported
		}
	}
	return ""
}

// framesMessage reports whether a trailer field would change where a message ends, or whom it is for (RFC 9110, 6.5.1).
func framesMessage(name []byte) bool {
	return equalFold(name, "Host") || equalFold(name, "Content-Length") || equalFold(name, "Transfer-Encoding")
}

// equalFold compares with a text of ASCII letters. Others that Unicode folds to those are longer.
func equalFold[T string | []byte](a T, b string) bool {
	return len(a) == len(b) && strings.EqualFold(string(a), b)
}

// endOfHead decides where the request ends (RFC 9112, 6.3), and refuses what could end in two places.
func (g *guard) endOfHead() string {
	switch {
	case g.hosts > 1 || g.hosts == 0 && !g.old, // RFC 9112, 3.2
		g.sizes > 1, g.chunk > 1,
		g.chunk > 0 && (g.sizes > 0 || g.old):
		return wordBadRequest
	case g.chunk > 0:
		g.head, g.state = 0, atChunkSize
	case g.left > 0:
		g.state = atBody
	case g.ws:
		g.state = atNothing // what comes now may be WebSocket already: an answer that refuses it ends the connection
	default:
		g.begin()
	}
	return ""
}
