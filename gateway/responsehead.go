package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"
)

const (
	mostProgramFields = 1000    // of one response
	mostScratch       = 8 << 10 // bytes of a buffer for heads that is kept
)

// errMalformed says that a program's response is not what RFC 9112 allows, or could be read in two ways.
var errMalformed = errors.New("malformed response")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// readResponseHead reads a status line and header fields. It is strict where RFC 9112 lets a recipient guess: lines end
// with CRLF, none is folded, no space stands before a colon, no control character is anywhere. Its errors are
// errMalformed, errNoAnswer, and those of r. scratch is memory that it may use, and grows.
func readResponseHead(r *bufio.Reader, scratch *[]byte) (*http.Response, error) {
	head, err := readHeadText(r, scratch)
	if err != nil {
		return nil, err
	}
	line, rest, _ := strings.Cut(head, "\r\n")
	res, err := parseStatusLine(line)
	if err != nil {
		return nil, err
	}
	res.Header, err = parseFields(rest)
	return res, err
}

// readHeadText reads lines up to an empty one, which is not returned.
func readHeadText(r *bufio.Reader, scratch *[]byte) (string, error) {
	text := (*scratch)[:0]
	defer func() {
		if cap(text) <= mostScratch {
			*scratch = text[:0]
		}
	}()
	for whole := true; ; {
		line, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil && len(text)+len(line) == 0:
			return "", fmt.Errorf("%w: %w", errNoAnswer, err)
		case errors.Is(err, io.EOF):
			return "", io.ErrUnexpectedEOF
		case err != nil:
			return "", err
		}
		if len(text)+len(line) > programHeaderBytes {
			return "", malformed("the header has more than %d bytes", programHeaderBytes)
		}
		if whole && err == nil && string(line) == "\r\n" && len(text) > 0 {
			return string(text), nil
		}
		text = append(text, line...)
		whole = err == nil
		if whole && (len(text) < 2 || text[len(text)-2] != '\r') {
			return "", malformed("a line does not end with CRLF")
		}
	}
}

// parseStatusLine reads HTTP/1.1 200 OK. The reason is not kept: it means nothing, and the gateway writes its own.
func parseStatusLine(line string) (*http.Response, error) {
	version, rest, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(rest, " ")
	res := &http.Response{Proto: version, ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1}
	switch version {
	case "HTTP/1.1":
	case "HTTP/1.0":
		res.ProtoMinor = 0
	default:
		return nil, malformed("status line %.40q", line)
	}
	if len(code) != 3 || code[0] < '1' || code[0] > '9' || !isFieldValue(reason) {
		return nil, malformed("status line %.40q", line)
	}
	for _, c := range []byte(code) {
		if c < '0' || c > '9' {
			return nil, malformed("status line %.40q", line)
		}
		res.StatusCode = 10*res.StatusCode + int(c-'0')
	}
	return res, nil
}

// roomFor leaves room for what the gateway adds to an answer. A map of up to eight is the cheapest there is, and nearly all fit.
func roomFor(count int) int {
	const ours, cheap = 4, 8
	if count+ours <= cheap {
		return cheap
	}
	return count + 2*ours
}

// parseFields reads lines that all end with CRLF.
func parseFields(text string) (http.Header, error) {
	count := strings.Count(text, "\n")
	if count > mostProgramFields {
		return nil, malformed("more than %d fields", mostProgramFields)
	}
	h := make(http.Header, roomFor(count))
	values := make([]string, count) // one allocation for the values of all fields
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\r\n")
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !ok || !isToken(name) || !isFieldValue(value) {
			return nil, malformed("field %.40q", line)
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		if old := h[name]; old != nil {
			h[name] = append(old, value)
			continue
		}
		values[0] = value
		h[name], values = values[:1:1], values[1:]
	}
	return h, nil
}
