package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
)

const mostScratch = 8 << 10 // bytes of a buffer for heads that is kept

// errMalformed says that a program's response is not what RFC 9112 allows, or could be read in two ways.
var errMalformed = errors.New("malformed response")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// readResponseHead reads a status line into res, and header fields. It is strict where RFC 9112 lets a recipient guess: lines end
// with CRLF, none is folded, no space stands before a colon, no control character is anywhere. Its errors are
// errMalformed, errNoAnswer, and those of r. scratch is memory that it may use, and grows.
func readResponseHead(r *bufio.Reader, scratch *[]byte, res *http.Response, fields *fieldList) error {
	head, err := readHeadText(r, scratch)
	if err != nil {
		return err
	}
	line, lines, _ := bytes.Cut(head, []byte("\r\n"))
	if err := parseStatusLine(line, res); err != nil {
		return err
	}
	return fields.parse(lines)
}

// readHeadText reads lines up to an empty one, which is not returned. Nearly always all of them are there. What it returns is good
// until r or scratch is used again, and may be changed.
func readHeadText(r *bufio.Reader, scratch *[]byte) ([]byte, error) {
	if _, err := r.Peek(1); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	there, _ := r.Peek(r.Buffered())
	if size, lines := headSize(there); lines > 0 && size <= programHeaderBytes {
		_, _ = r.Discard(size + len("\r\n"))
		return there[:size], nil
	}
	return readHeadLines(r, scratch)
}

// readHeadLines does it line by line, of which the first has begun.
func readHeadLines(r *bufio.Reader, scratch *[]byte) ([]byte, error) {
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
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
		if len(text)+len(line) > programHeaderBytes {
			return nil, malformed("the header has more than %d bytes", programHeaderBytes)
		}
		if whole && err == nil && string(line) == "\r\n" && len(text) > 0 {
			return text, nil
		}
		text = append(text, line...)
		whole = err == nil
		if whole && (len(text) < 2 || text[len(text)-2] != '\r') {
			return nil, malformed("a line does not end with CRLF")
		}
	}
}

// parseStatusLine reads HTTP/1.1 200 OK. The reason is not kept: it means nothing, and the gateway writes its own.
func parseStatusLine(line []byte, res *http.Response) error {
	version, rest, _ := bytes.Cut(line, []byte(" "))
	code, reason, _ := bytes.Cut(rest, []byte(" "))
	*res = http.Response{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1}
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		res.Proto, res.ProtoMinor = "HTTP/1.0", 0
	default:
		return malformed("status line %.40q", line)
	}
	if len(code) != 3 || code[0] < '1' || code[0] > '9' || !isFieldValue(reason) {
		return malformed("status line %.40q", line)
	}
	for _, c := range code {
		if c < '0' || c > '9' {
			return malformed("status line %.40q", line)
		}
		res.StatusCode = 10*res.StatusCode + int(c-'0')
	}
	return nil
}
