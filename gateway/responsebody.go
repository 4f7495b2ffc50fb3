package gateway

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// frame decides how long the response's body is (RFC 9112, 6.3), and refuses what it calls ambiguous.
func (t *trip) frame(res *http.Response) error {
	coding, length := res.Header["Transfer-Encoding"], res.Header["Content-Length"]
	declared := int64(-1)
	if length != nil {
		n, ok := contentLength(length)
		if !ok {
			return malformed("Content-Length %.40q", length)
		}
		declared = n
	}
	switch {
	case len(coding) > 0 && len(length) > 0:
		return malformed("both Transfer-Encoding and Content-Length")
	case len(coding) > 0 && (len(coding) > 1 || !strings.EqualFold(coding[0], "chunked") || res.ProtoMinor == 0):
		return malformed("Transfer-Encoding %.40q", coding)
	}
	if res.ProtoMinor == 0 || hasToken(res.Header["Connection"], "close") {
		t.notReusable()
	}
	status := res.StatusCode
	switch {
	case status == http.StatusSwitchingProtocols:
		t.notReusable()
		res.ContentLength, res.Body = 0, &tunnelBody{t: t}
		return nil
	case t.r.Method == http.MethodHead, status == http.StatusNoContent, status == http.StatusNotModified:
		if status == http.StatusNoContent {
			delete(res.Header, "Content-Length") // RFC 9110, 8.6
			declared = 0
		}
		res.ContentLength, res.Body = declared, http.NoBody
		t.done()
		return nil
	case declared == 0:
		res.ContentLength, res.Body = 0, http.NoBody
		t.done()
		return nil
	case len(coding) > 0:
		res.TransferEncoding = coding
		res.Trailer = http.Header{}
		for _, value := range res.Header["Trailer"] {
			for name := range strings.SplitSeq(value, ",") {
				if name = strings.TrimSpace(name); isToken(name) && !isFraming(http.CanonicalHeaderKey(name)) {
					res.Trailer[http.CanonicalHeaderKey(name)] = nil
				}
			}
		}
		res.Body = t.bodyFrom(&chunkReader{r: t.c.r, trailer: res.Trailer})
	case declared > 0:
		res.ContentLength = declared
		t.sized = sizedReader{t.c.r, declared}
		res.Body = t.bodyFrom(&t.sized)
	default:
		t.notReusable()
		res.Body = t.bodyFrom(t.c.r)
	}
	return nil
}

func (t *trip) bodyFrom(r io.Reader) io.ReadCloser {
	t.body.t, t.body.r = t, r
	return &t.body
}

// contentLength reads the field. Lists and repetitions are ambiguous, even when they agree.
func contentLength(values []string) (int64, bool) {
	if len(values) != 1 || values[0] == "" || len(values[0]) > 18 {
		return 0, false
	}
	for _, c := range []byte(values[0]) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(values[0], 10, 64)
	return n, err == nil
}

// programBody is the body of a response. Read returns io.EOF only for a body that came whole.
type programBody struct {
	t     *trip
	r     io.Reader
	once  sync.Once
	ended error
}

// Read implements io.Reader.
func (b *programBody) Read(p []byte) (int, error) {
	if b.ended != nil {
		return 0, b.ended
	}
	n, err := b.r.Read(p)
	if err != nil {
		b.ended = err
		b.once.Do(func() {
			if !errors.Is(err, io.EOF) {
				b.t.fail()
			}
			b.t.done()
		})
	}
	return n, err
}

// Close ends a response that was not read to its end, with its connection.
func (b *programBody) Close() error {
	b.once.Do(func() {
		b.t.fail()
		b.t.done()
	})
	return nil
}

// tunnelBody is the connection after 101, in both directions.
type tunnelBody struct {
	t    *trip
	once sync.Once
}

// Read implements io.Reader. What came with the head is read first; then nobody needs the connection's buffer.
func (b *tunnelBody) Read(p []byte) (int, error) {
	c := b.t.c
	if c.r == nil {
		return c.conn.Read(p)
	}
	if c.r.Buffered() > 0 {
		return c.r.Read(p)
	}
	c.r.Reset(nil)
	programReaders.Put(c.r)
	c.r = nil
	return c.conn.Read(p)
}

// Write implements io.Writer.
func (b *tunnelBody) Write(p []byte) (int, error) { return b.t.c.conn.Write(p) }

// Close implements io.Closer.
func (b *tunnelBody) Close() error {
	b.once.Do(func() {
		b.t.fail()
		b.t.done()
	})
	return nil
}

// sizedReader reads n bytes; less is io.ErrUnexpectedEOF. It says io.EOF together with the last byte.
type sizedReader struct {
	r *bufio.Reader
	n int64
}

// Read implements io.Reader.
func (s *sizedReader) Read(p []byte) (int, error) {
	if int64(len(p)) > s.n {
		p = p[:s.n]
	}
	n, err := s.r.Read(p)
	s.n -= int64(n)
	switch {
	case s.n == 0:
		return n, io.EOF
	case errors.Is(err, io.EOF):
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}
