package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A consumer that resets streams while informational answers are written to it. It takes the race detector to see what is wrong.
func TestStreamsThatEndWhileTheyAreInformed(t *testing.T) {
	const streams = 300
	hint := "HTTP/1.1 103 Early Hints\r\n" + strings.Repeat("Link: </x>; rel=preload\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\n", 20) + "\r\n"
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err == nil {
			_, _ = io.WriteString(conn, strings.Repeat(hint, mostInform)+"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	c := d.second()
	for id := uint32(1); id < 2*streams; id += 2 {
		c.open(id, true, "GET")
		for { // up to the first that it is told
			frame := c.frame()
			if frame.Header().StreamID == id {
				break
			}
		}
		if err := c.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
	}
	for range streams {
		d.record()
	}
}

// A method that is no token is the consumer's mistake, and no program's.
func TestAMethodThatIsNone(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	c := d.dial()
	c.send(http2.ClientPreface)
	framer := http2.NewFramer(c.Conn, c.r)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "G(T"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/run/public/"}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // to memory
	}
	err := framer.WriteSettings()
	if err == nil {
		err = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	}
	for err == nil {
		var frame http2.Frame
		if frame, err = framer.ReadFrame(); err != nil {
			break
		}
		if head, ok := frame.(*http2.MetaHeadersFrame); ok {
			if status := head.PseudoValue("status"); status != "400" {
				t.Errorf("it was answered %s", status)
			}
			return
		}
	}
	t.Fatal(err)
}

// second is a consumer's connection that speaks HTTP/2, on which tests write frames.
type second struct {
	*http2.Framer
	t       *testing.T
	block   bytes.Buffer
	encoder *hpack.Encoder
}

func (d *door) second() *second {
	d.t.Helper()
	t := d.t.(*testing.T)
	c := d.dial()
	c.send(http2.ClientPreface)
	s := &second{Framer: http2.NewFramer(c.Conn, c.r), t: t}
	s.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	s.encoder = hpack.NewEncoder(&s.block)
	if err := s.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return s
}

// frame is the next one.
func (s *second) frame() http2.Frame {
	s.t.Helper()
	frame, err := s.ReadFrame()
	if err != nil {
		s.t.Fatal(err)
	}
	return frame
}

// left waits until no more requests of the public API hold a place, for which there is no event.
func (d *door) left(most int, otherwise string) {
	d.t.Helper()
	for begin := time.Now(); d.gateway.admission.count("api_public") > most; time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			d.t.Fatal(otherwise)
		}
	}
}

// open begins a request of the public API, with more fields in pairs of name and value.
func (s *second) open(id uint32, whole bool, method string, more ...string) {
	s.t.Helper()
	s.block.Reset()
	all := append([]string{":method", method, ":scheme", "http", ":authority", "h", ":path", "/run/public/"}, more...)
	for i := 0; i < len(all); i += 2 {
		_ = s.encoder.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]}) // to memory
	}
	frame := http2.HeadersFrameParam{StreamID: id, BlockFragment: s.block.Bytes(), EndStream: whole, EndHeaders: true}
	if err := s.WriteHeaders(frame); err != nil {
		s.t.Fatal(err)
	}
}

// status waits for the end of a stream, and returns the status of its answer; empty when it was reset before one.
func (s *second) status(id uint32) (status string) {
	s.t.Helper()
	for {
		frame := s.frame()
		if frame.Header().StreamID != id {
			continue
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			status = f.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return status
		}
		if frame.Header().Flags.Has(http2.FlagDataEndStream) { // the same bit in both kinds of frames
			return status
		}
	}
}

// outcome is how a stream or the connection ended, as text: a status, "reset CODE", "goaway CODE" or "closed".
func (s *second) outcome(id uint32) string {
	s.t.Helper()
	status := ""
	for {
		frame, err := s.ReadFrame()
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return "closed"
		case err != nil:
			s.t.Fatal(err)
		}
		switch f := frame.(type) {
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				return "goaway " + f.ErrCode.String()
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return strings.TrimSpace(status + " reset " + f.ErrCode.String())
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID == id {
				status = f.PseudoValue("status")
			}
		}
		if h := frame.Header(); h.StreamID == id && (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) && h.Flags.Has(http2.FlagDataEndStream) {
			return status
		}
	}
}

func (s *second) raw(kind http2.FrameType, flags http2.Flags, id uint32, payload string) {
	s.t.Helper()
	if err := s.WriteRawFrame(kind, flags, id, []byte(payload)); err != nil {
		s.t.Fatal(err)
	}
}

// encoded is a block of fields.
func (s *second) encoded(fields ...string) string {
	s.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = s.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // to memory
	}
	return s.block.String()
}

func (s *second) request(method string) string {
	return s.encoded(":method", method, ":scheme", "http", ":authority", "h", ":path", "/run/public/")
}

const (
	endStream  = http2.FlagDataEndStream
	endHeaders = http2.FlagHeadersEndHeaders
)

// echo reads a request's body, and answers with it.
func echo(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err == nil {
		_, _ = w.Write(text)
	}
}

// TestLengthsOverHTTP2: a length that is not the body's is refused, and so no program is called without what was sent.
func TestLengthsOverHTTP2(t *testing.T) {
	type seen struct {
		length int64
		text   string
	}
	came := make(chan seen, 1)
	d := newDoor(t, Config{}, func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		came <- seen{r.ContentLength, string(text)}
	})
	for name, c := range map[string]struct {
		lengths []string
		body    string
		status  string
		length  int64
	}{
		"none":               {nil, "ab", "200", -1},
		"its own":            {[]string{"2"}, "ab", "200", 2},
		"nothing of nothing": {[]string{"0"}, "", "200", 0},
		"the same twice":     {[]string{"2", "2"}, "ab", "400", 0},
		"two":                {[]string{"2", "3"}, "ab", "400", 0},
		"a list":             {[]string{"2, 2"}, "ab", "400", 0},
		"signed":             {[]string{"+2"}, "ab", "400", 0},
		"negative":           {[]string{"-2"}, "ab", "400", 0},
		"no number":          {[]string{"x"}, "ab", "400", 0},
		"empty":              {[]string{""}, "ab", "400", 0},
		"no body":            {[]string{"5"}, "", "400", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := d.second()
			s.t = t
			var more []string
			for _, length := range c.lengths {
				more = append(more, "content-length", length)
			}
			s.open(1, c.body == "", http.MethodPost, more...)
			if c.status == "400" { // net/http resets the stream of more than was declared, maybe before the answer
				if status := s.status(1); status != c.status {
					t.Errorf("status %q, want %s", status, c.status)
				}
				if len(came) > 0 {
					t.Errorf("the program got %+v", <-came)
				}
				return
			}
			if c.body != "" {
				if err := s.WriteData(1, true, []byte(c.body)); err != nil {
					t.Fatal(err)
				}
			}
			if got := within(t, "the program", came); got.length != c.length || got.text != c.body {
				t.Errorf("the program got %+v", got)
			}
			if status := s.status(1); status != c.status {
				t.Errorf("status %q, want %s", status, c.status)
			}
		})
	}
}

// TestTrailersBehindALength: over HTTP/2 a trailer can be announced and come behind a body of known length (RFC 9113, 8.1), where HTTP/1.1 has
// no place for one.
func TestTrailersBehindALength(t *testing.T) {
	came := make(chan string, 1)
	d := newDoor(t, Config{}, func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		came <- fmt.Sprint(string(text), r.Trailer)
	})
	for _, sent := range []bool{false, true} {
		s := d.second()
		s.open(1, false, http.MethodPost, "content-length", "2", "trailer", "x-end")
		if err := s.WriteData(1, !sent, []byte("ab")); err != nil {
			t.Fatal(err)
		}
		if sent {
			s.block.Reset()
			_ = s.encoder.WriteField(hpack.HeaderField{Name: "x-end", Value: "1"}) // to memory
			if err := s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: s.block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
				t.Fatal(err)
			}
		}
		if got := within(t, "the program", came); got != "abmap[]" {
			t.Errorf("the program got %s", got)
		}
		if status := s.status(1); status != "200" {
			t.Errorf("status %q", status)
		}
	}
}

// TestHostsOverHTTP2: the guard refuses a second host in HTTP/1.
func TestHostsOverHTTP2(t *testing.T) {
	d := newDoor(t, Config{}, func(_ http.ResponseWriter, r *http.Request) {
		if r.Host != "h" {
			t.Errorf("the program got the host %q", r.Host)
		}
	})
	for name, c := range map[string]struct {
		hosts  []string
		status string
	}{
		"none": {nil, "200"}, "the same": {[]string{"H"}, "200"}, "another": {[]string{"other"}, "400"}, "a second": {[]string{"h", "other"}, "400"},
		"with its port": {[]string{"h:80"}, "200"}, "with a port": {[]string{"h:81"}, "400"}, "empty": {[]string{""}, "400"},
	} {
		s := d.second()
		var more []string
		for _, host := range c.hosts {
			more = append(more, "host", host)
		}
		s.open(1, true, http.MethodGet, more...)
		if status := s.status(1); status != c.status {
			t.Errorf("%s: status %q, want %s", name, status, c.status)
		}
	}
}

// TestHostBehindAProxy: some proxies send Host and no :authority, which is compared with nothing that they say of the consumer's.
func TestHostBehindAProxy(t *testing.T) {
	d := newDoor(t, Config{TrustedProxies: loopback}, func(_ http.ResponseWriter, r *http.Request) {
		if r.Host != "api.example.com" {
			t.Errorf("the program got the host %q", r.Host)
		}
	})
	s := d.second()
	s.raw(http2.FrameHeaders, endHeaders|endStream, 1, s.encoded(":method", "GET", ":scheme", "https", ":path", "/run/public/",
		"host", "gw.internal", "x-forwarded-host", "api.example.com"))
	if status := s.status(1); status != "200" {
		t.Errorf("status %s", status)
	}
}
