package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
)

const (
	longestChunkLine = 256     // a size with its extensions, which nobody uses
	mostTrailerBytes = 8 << 10 // all trailer fields together
)

// chunkReader reads a chunked body (RFC 9112, 7.1). The trailer fields are put into trailer before it says io.EOF.
type chunkReader struct {
	r       *bufio.Reader
	trailer http.Header
	left    int64 // of this chunk
	inside  bool  // a chunk was begun, its line end not read
}

// Read implements io.Reader. Its errors are errMalformed, io.ErrUnexpectedEOF and those of the connection.
func (c *chunkReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.left == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// endChunk waits for the line end of a chunk that was read, so that what comes next is another chunk. What is none is left for the next Read to say.
func (c *chunkReader) endChunk() {
	if c.left > 0 || !c.inside {
		return
	}
	const want = "\r\n"
	if end, err := c.r.Peek(len(want)); err == nil && string(end) == want {
		_, _ = c.r.Discard(len(want)) // there is so much: no error
		c.inside = false
	}
}

// next reads up to the data of the next chunk; io.EOF after the last one and the trailer.
func (c *chunkReader) next() error {
	if c.inside {
		line, err := c.line(longestChunkLine)
		switch {
		case err != nil:
			return err
		case len(line) > 0:
			return malformed("a chunk is longer than its size")
		}
		c.inside = false
	}
	line, err := c.line(longestChunkLine)
	if err != nil {
		return err
	}
	size, ok := chunkSize(line)
	if !ok {
		return malformed("chunk size %.40q", line)
	}
	if size == 0 {
		return c.end()
	}
	c.left, c.inside = size, true
	return nil
}

// end reads the trailer.
func (c *chunkReader) end() error {
	var text []byte
	for {
		line, err := c.line(mostTrailerBytes)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			break
		}
		if len(text)+len(line) > mostTrailerBytes {
			return malformed("the trailer has more than %d bytes", mostTrailerBytes)
		}
		text = append(append(text, line...), "\r\n"...)
	}
	var fields fieldList
	if err := fields.parse(text); err != nil {
		return err
	}
	fields.addTo(c.trailer)
	return io.EOF
}

// line reads one line and returns it without its CRLF, until the next read.
func (c *chunkReader) line(most int) ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case errors.Is(err, bufio.ErrBufferFull) || len(line) > most+2:
		return nil, malformed("a line of the chunked coding is too long")
	case err != nil:
		return nil, err
	}
	text, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok {
		return nil, malformed("a line of the chunked coding does not end with CRLF")
	}
	return text, nil
}

// chunkSize reads the hexadecimal size before the extensions, which end the gateway's interest.
func chunkSize(line []byte) (int64, bool) {
	digits, extension, _ := bytes.Cut(line, []byte(";"))
	digits = bytes.TrimRight(digits, " \t")
	if len(digits) == 0 || len(digits) > 15 || !isFieldValue(extension) {
		return 0, false
	}
	var size int64
	for _, c := range digits {
		var digit byte
		switch {
		case c >= '0' && c <= '9':
			digit = c - '0'
		case c >= 'a' && c <= 'f':
			digit = c - 'a' + 10
		case c >= 'A' && c <= 'F':
			digit = c - 'A' + 10
		default:
			return 0, false
		}
		size = size<<4 | int64(digit)
	}
	return size, true
}
