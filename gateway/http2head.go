package gateway

import (
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// headReader makes a request, or its trailer, of fields (RFC 9113, 8.3).
type headReader struct {
	s       *http2Stream
	trailer http.Header // nil: it is the request's head
	values  []string    // memory
	cookies []string    // but the first
	size    int
	count   int
	path    string
	scheme  string
	regular bool // a field was there that is no pseudo-header field
	wrong   bool
	large   bool
}

// readHead reads the request of a stream.
func (s *http2Stream) readHead(block []byte, ends bool) error {
	c := s.c
	r := &s.request
	*r = *new(http.Request).WithContext(&s.life)
	r.Proto, r.ProtoMajor = "HTTP/2.0", 2
	if s.header == nil {
		s.header = make(http.Header, fewFields)
	}
	r.Header, r.Body, r.URL, r.RemoteAddr = s.header, http.NoBody, &s.url, c.remote
	c.head = headReader{s: s, values: s.values[:]}
	h := &c.head
	defer func() { *h = headReader{} }()
	if err := c.decodeHead(block); err != nil {
		return err
	}
	h.finish()
	switch {
	case h.large:
		s.wrong = wordHeaderTooLarge
	case h.wrong:
		s.malformed = true
	case !isToken(r.Method), !possibleHost(r.Host):
		s.wrong = wordBadRequest
	}
	if !ends {
		s.body.open()
		r.Body, r.ContentLength = &s.body, s.declared
	}
	return nil
}

// takeTrailer reads what follows the body of a request.
func (c *http2Conn) takeTrailer(id uint32, ends bool, block []byte) error {
	trailer := make(http.Header)
	c.head = headReader{trailer: trailer}
	err := c.decodeHead(block)
	bad := c.head.wrong || c.head.large || !ends
	c.head = headReader{}
	if err != nil {
		return err
	}
	c.mu.Lock()
	s := c.streams[id]
	closed := s != nil && s.recvEnded
	if s != nil && !closed && !bad {
		for name := range trailer {
			if _, declared := s.request.Trailer[name]; !declared {
				delete(trailer, name)
			}
		}
		s.body.trailer = trailer
	}
	c.mu.Unlock()
	switch {
	case closed:
		return c.breakOff(id, http2.ErrCodeStreamClosed)
	case bad:
		return c.breakOff(id, http2.ErrCodeProtocol)
	}
	return c.endData(id)
}

// decodeHead has the head take the fields of a block.
func (c *http2Conn) decodeHead(block []byte) error {
	c.decoder.SetEmitEnabled(true)
	return c.decode(block)
}

// takeField is called for each field.
func (c *http2Conn) takeField(f hpack.HeaderField) {
	h := &c.head
	h.size += len(f.Name) + len(f.Value) + fieldOverhead
	if h.count++; h.size > c.mostHead || h.count > mostRequestFields+4 { // the pseudo-header fields
		h.large = true
		c.decoder.SetEmitEnabled(false) // what follows is not even made
		return
	}
	switch {
	case !isFieldValue(f.Value) || f.Value != strings.Trim(f.Value, " \t"):
		h.wrong = true
	case strings.HasPrefix(f.Name, ":"):
		h.pseudo(f)
	default:
		h.field(f)
	}
}

func (h *headReader) pseudo(f hpack.HeaderField) {
	if h.regular || h.trailer != nil {
		h.wrong = true
		return
	}
	var to *string
	switch f.Name {
	case ":method":
		to = &h.s.request.Method
	case ":path":
		to = &h.path
	case ":scheme":
		to = &h.scheme
	case ":authority":
		to = &h.s.request.Host
	}
	if to == nil || *to != "" || f.Value == "" {
		h.wrong = true
		return
	}
	*to = f.Value
}

func (h *headReader) field(f hpack.HeaderField) {
	h.regular = true
	name, ok := commonNames[f.Name]
	if !ok {
		if name = f.Name; !isToken(name) || strings.ToLower(name) != name {
			h.wrong = true
			return
		}
		name = http.CanonicalHeaderKey(name)
	} else if name == f.Name {
		h.wrong = true // in upper case
		return
	}
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade":
		h.wrong = true
		return
	case "Te":
		if f.Value != "trailers" {
			h.wrong = true
			return
		}
	}
	if h.trailer != nil {
		h.trailer[name] = append(h.trailer[name], f.Value)
		return
	}
	header := h.s.request.Header
	switch old, there := header[name]; {
	case !there:
		h.s.answer.head.order.add(name)
		if len(h.values) == 0 {
			h.values = make([]string, fewFields)
		}
		h.values[0] = f.Value
		header[name], h.values = h.values[:1:1], h.values[1:]
	case name == "Cookie": // RFC 9113, 8.2.3
		h.cookies = append(h.cookies, f.Value)
	default:
		header[name] = append(old, f.Value)
	}
}

// finish looks at the fields together.
func (h *headReader) finish() {
	r := &h.s.request
	if declared := r.Header["Content-Length"]; len(declared) == 1 {
		if n, ok := parseLength(declared[0]); ok {
			h.s.declared = n
		}
	}
	if len(h.cookies) > 0 {
		first := r.Header["Cookie"]
		first[0] = strings.Join(append(first[:1:1], h.cookies...), "; ")
	}
	if r.Host == "" {
		r.Host = r.Header.Get("Host")
	}
	for _, host := range r.Header["Host"] {
		if !sameHost(host, r.Host, h.scheme) {
			h.s.wrong = wordBadRequest
		}
	}
	r.RequestURI = h.path
	switch {
	case r.Method == "":
		h.wrong = true
	case r.Method == http.MethodConnect:
		h.wrong = h.wrong || h.path != "" || h.scheme != "" || r.Host == ""
		r.RequestURI, h.s.url = r.Host, url.URL{Host: r.Host}
	case h.scheme == "" || !h.target():
		h.wrong = true
	case r.Host == "": // as in HTTP/1.1
		h.s.wrong = wordBadRequest
	}
	if expected := r.Header["Expect"]; len(expected) > 0 {
		if h.s.body.expects = hasToken(expected, "100-continue"); !h.s.body.expects {
			h.s.wrong = wordExpectationFailed
		}
	}
	if names, ok := r.Header["Trailer"]; ok {
		delete(r.Header, "Trailer")
		r.Trailer = make(http.Header)
		for _, list := range names {
			for name := range strings.SplitSeq(list, ",") {
				if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); isToken(name) && !isFraming(name) {
					r.Trailer[name] = nil
				}
			}
		}
	}
}

// target reads the path, which may be the asterisk of OPTIONS; false when it is none.
func (h *headReader) target() bool {
	u := &h.s.url
	path, query, asked := strings.Cut(h.path, "?")
	switch {
	case h.path == "*":
		u.Path = h.path
		return h.s.request.Method == http.MethodOptions
	case !strings.HasPrefix(path, "/"):
		return false
	case isLiteral(path):
		u.Path, u.RawQuery, u.ForceQuery = path, query, asked && query == ""
		return true
	}
	if parsed, err := url.ParseRequestURI(h.path); err == nil {
		*u = *parsed
	} else { // an escape that is none, which browsers send as they are given it
		h.s.wrong = wordBadRequest
	}
	return true
}

// sameHost reports whether a Host field says the same as :authority, which is taken: whoever has passed the request on may have looked at the other
// (RFC 9113, 8.3.1).
func sameHost(host, authority, scheme string) bool {
	port := ":80"
	if scheme == "https" {
		port = ":443"
	}
	return strings.EqualFold(strings.TrimSuffix(host, port), strings.TrimSuffix(authority, port))
}

// clearLength reports whether a request of HTTP/2 has no length, or one that its body has too (RFC 9113, 8.1.1). In HTTP/1 the
// guard sees to it.
func clearLength(r *http.Request) bool {
	declared := r.Header["Content-Length"]
	if declared == nil {
		return true
	}
	n, ok := parseLength(declared[0])
	return ok && len(declared) == 1 && n == r.ContentLength
}
