package gateway

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// frame decides how long the response's body is (RFC 9112, 6.3), and refuses what it calls ambiguous.
func (t *trip) frame(res *http.Response) error {
	coding, codings := t.fields.count("Transfer-Encoding")
	length, lengths := t.fields.count("Content-Length")
	declared := int64(-1)
	if lengths > 0 {
		n, ok := parseLength(length)
		if !ok || lengths > 1 { // lists and repetitions are ambiguous, even when they agree
			return malformed("Content-Length %.40q", t.fields.values("Content-Length"))
		}
		declared = n
	}
	switch {
	case codings > 0 && lengths > 0:
		return malformed("both Transfer-Encoding and Content-Length")
	case codings > 0 && (codings > 1 || !equalFold(coding, "chunked") || res.ProtoMinor == 0):
		return malformed("Transfer-Encoding %.40q", t.fields.values("Transfer-Encoding"))
	}
	if res.ProtoMinor == 0 || hasToken(t.fields.values("Connection"), "close") {
		t.notReusable()
	}
	status := res.StatusCode
	switch {
	case status == http.StatusSwitchingProtocols:
		t.mu.Lock()
		t.reusable, t.tunnel = false, true
		t.mu.Unlock()
		res.ContentLength, res.Body = 0, &tunnelBody{t: t}
		return nil
	case t.r.Method == http.MethodHead, status == http.StatusNoContent, status == http.StatusNotModified:
		if status == http.StatusNoContent {
			t.fields.remove("Content-Length") // RFC 9110, 8.6
			declared = 0
		}
		res.ContentLength, res.Body = declared, http.NoBody
		t.done()
		return nil
	case declared == 0:
		res.ContentLength, res.Body = 0, http.NoBody
		t.done()
		return nil
	case codings > 0:
		res.TransferEncoding = []string{coding}
		res.Trailer = http.Header{}
		for _, value := range t.fields.values("Trailer") {
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

// parseLength reads a value of Content-Length, which must not be a list.
func parseLength(value string) (int64, bool) {
	if value == "" || len(value) > 18 {
		return 0, false
	}
	for i := range len(value) {
		if c := value[i]; c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(value, 10, 64)
	return n, err == nil
}

// programBody is the body of a response. Read returns io.EOF only for a body that came whole.
type programBody struct {
	t     *trip
	r     io.Reader
	over  atomic.Bool
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
		if !b.over.Swap(true) {
			if !errors.Is(err, io.EOF) {
				b.t.fail()
			}
			b.t.done()
		}
	}
	return n, err
}

// await implements awaiter. Whoever calls it has not read to the end, so that something is to come.
func (b *programBody) await() {
	if b.ended != nil || b.over.Load() {
		return
	}
	if c, ok := b.r.(*chunkReader); ok {
		c.endChunk()
	}
	b.t.c.await()
}

// Close ends a response that was not read to its end, with its connection.
func (b *programBody) Close() error {
	if !b.over.Swap(true) {
		b.t.fail()
		b.t.done()
	}
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

// await implements awaiter.
func (b *tunnelBody) await() { b.t.c.await() }

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
