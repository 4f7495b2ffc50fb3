package churntest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// second is a connection on which HTTP/2 is spoken (RFC 9113).
type second struct {
	*http2.Framer
	c       *client
	block   bytes.Buffer
	encoder *hpack.Encoder
	last    uint32 // of the streams
}

// secondActs are what clients do over HTTP/2.
var secondActs = []namedAct{
	{"streams beside each other", func(c *client) error {
		return c.overHTTP2(func(s *second) error {
			sizes := map[uint32]int{}
			for range 1 + c.random.IntN(8) {
				size := c.random.IntN(200_000)
				sizes[s.open("GET", fmt.Sprintf("/bytes/%d", size), true)] = size
			}
			return s.read(sizes)
		})
	}},
	{"streams that are taken back beside one that is not", func(c *client) error {
		return c.overHTTP2(func(s *second) error {
			for range 1 + c.random.IntN(20) {
				id := s.open("GET", "/bytes/100000", true)
				if c.random.IntN(2) == 0 {
					id = s.open("POST", "/raw", false)
					_ = s.WriteData(id, false, make([]byte, c.random.IntN(1000)))
				}
				_ = s.WriteRSTStream(id, http2.ErrCodeCancel)
			}
			return s.read(map[uint32]int{s.open("GET", "/bytes/1000", true): 1000})
		})
	}},
	{"a whole upload over HTTP/2", func(c *client) error {
		return c.overHTTP2(func(s *second) error {
			id, size := s.open("POST", "/raw", false), c.random.IntN(200_000)
			for left := size; left > 0; left -= min(left, 10_000) {
				_ = s.WriteData(id, false, make([]byte, min(left, 10_000)))
			}
			_ = s.WriteData(id, true, nil)
			return s.read(map[uint32]int{id: -1})
		})
	}},
	{"an upload over HTTP/2 left in the middle", func(c *client) error {
		return c.overHTTP2(func(s *second) error {
			_ = s.WriteData(s.open("POST", "/raw", false), false, make([]byte, c.random.IntN(16_000)))
			c.pause(200)
			return nil
		})
	}},
	{"a download for which there is no window", func(c *client) error {
		return c.overHTTP2(func(s *second) error {
			s.open("GET", "/bytes/3000000", true)
			c.pause(300)
			return nil
		})
	}},
	{"streams of events, one of them taken back, then gone", func(c *client) error {
		return c.overHTTP2(func(s *second) error {
			first := s.open("GET", "/events", true)
			s.open("GET", "/events", true)
			c.pause(200)
			_ = s.WriteRSTStream(first, http2.ErrCodeCancel)
			c.pause(100)
			return nil
		})
	}},
	{"a frame that is none", func(c *client) error {
		return c.overHTTP2(func(s *second) error {
			s.open("GET", "/bytes/100000", true)
			_ = s.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, []byte("x"))
			_, _ = io.Copy(io.Discard, c.r)
			return nil
		})
	}},
	{"streams, reset with their connection", func(c *client) error {
		return c.overHTTP2(func(s *second) error {
			for range 1 + c.random.IntN(20) {
				s.open("GET", "/bytes/100000", true)
			}
			if tcp, ok := c.Conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			return nil
		})
	}},
}

// overHTTP2 begins, and waits until it is known what may be sent.
func (c *client) overHTTP2(do func(*second) error) error {
	s := &second{Framer: http2.NewFramer(c.Conn, c.r), c: c}
	s.encoder = hpack.NewEncoder(&s.block)
	s.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, _ = io.WriteString(c.Conn, http2.ClientPreface)
	_ = s.WriteSettings()
	for {
		frame, err := s.ReadFrame()
		if err != nil {
			return err
		}
		if f, ok := frame.(*http2.WindowUpdateFrame); ok && f.StreamID == 0 { // behind the settings
			return do(s)
		}
	}
}

func (s *second) open(method, path string, whole bool) uint32 {
	s.last += 2
	id := s.last - 1
	s.block.Reset()
	for _, f := range [][2]string{
		{":method", method}, {":scheme", "http"}, {":authority", "churn"}, {":path", s.c.t.Path + path}, {"x-api-key", s.c.t.Key},
	} {
		_ = s.encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // to memory
	}
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.block.Bytes(), EndStream: whole, EndHeaders: true})
	return id
}

// read wants answers with bodies of so many bytes by stream; -1 is any.
func (s *second) read(sizes map[uint32]int) error {
	got := map[uint32]int{}
	for len(sizes) > 0 {
		frame, err := s.ReadFrame()
		if err != nil {
			return fmt.Errorf("read the answers: %w", err)
		}
		h := frame.Header()
		want, waited := sizes[h.StreamID]
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			if status := f.PseudoValue("status"); waited && status != "200" {
				return fmt.Errorf("status %s", status)
			}
		case *http2.DataFrame:
			got[h.StreamID] += len(f.Data())
			if n := h.Length; n > 0 {
				_ = s.WriteWindowUpdate(0, n)
				if !f.StreamEnded() {
					_ = s.WriteWindowUpdate(h.StreamID, n)
				}
			}
		case *http2.RSTStreamFrame:
			if waited {
				return fmt.Errorf("reset: %v", f.ErrCode)
			}
		case *http2.GoAwayFrame:
			return fmt.Errorf("go away: %v %s", f.ErrCode, strings.ToValidUTF8(string(f.DebugData()), "?"))
		}
		if waited && (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) && h.Flags.Has(http2.FlagDataEndStream) {
			if want >= 0 && got[h.StreamID] != want {
				return fmt.Errorf("%d bytes of %d", got[h.StreamID], want)
			}
			delete(sizes, h.StreamID)
		}
	}
	return nil
}
