package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

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

// TestBrokenFrames: what RFC 9113 calls an error is one, of the connection or of the stream.
func TestBrokenFrames(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/endless" {
			<-r.Context().Done()
		}
		echo(w, r)
	})
	setting := func(id http2.SettingID, value uint32) string {
		return string(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, uint16(id)), value))
	}
	window := func(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }
	open := func(s *second) { s.raw(http2.FrameHeaders, endHeaders, 1, s.request("POST")) }
	whole := func(s *second) { s.raw(http2.FrameHeaders, endHeaders|endStream, 1, s.request("GET")) }
	endless := func(s *second) {
		s.raw(http2.FrameHeaders, endHeaders|endStream, 1, s.encoded(":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/run/public/endless"))
	}
	for name, c := range map[string]struct {
		act  func(s *second)
		want string
	}{
		"DATA of stream 0":         {func(s *second) { s.raw(http2.FrameData, 0, 0, "a") }, "goaway PROTOCOL_ERROR"},
		"DATA of an idle stream":   {func(s *second) { s.raw(http2.FrameData, 0, 1, "a") }, "goaway PROTOCOL_ERROR"},
		"DATA of a server's":       {func(s *second) { s.raw(http2.FrameData, 0, 2, "a") }, "goaway PROTOCOL_ERROR"},
		"DATA behind the end":      {func(s *second) { endless(s); s.raw(http2.FrameData, 0, 1, "a") }, "reset STREAM_CLOSED"},
		"padding of nothing":       {func(s *second) { open(s); s.raw(http2.FrameData, http2.FlagDataPadded, 1, "") }, "goaway FRAME_SIZE_ERROR"},
		"too much padding":         {func(s *second) { open(s); s.raw(http2.FrameData, http2.FlagDataPadded, 1, "\x02a") }, "goaway PROTOCOL_ERROR"},
		"a frame that is too long": {func(s *second) { open(s); s.raw(http2.FrameData, 0, 1, strings.Repeat("a", http2Frame+1)) }, "goaway FRAME_SIZE_ERROR"},

		"HEADERS of stream 0":      {func(s *second) { s.raw(http2.FrameHeaders, endHeaders, 0, s.request("GET")) }, "goaway PROTOCOL_ERROR"},
		"HEADERS of a server's":    {func(s *second) { s.raw(http2.FrameHeaders, endHeaders, 2, s.request("GET")) }, "goaway PROTOCOL_ERROR"},
		"HEADERS without priority": {func(s *second) { s.raw(http2.FrameHeaders, endHeaders|http2.FlagHeadersPriority, 1, "abc") }, "goaway FRAME_SIZE_ERROR"},
		"HEADERS that depend on it": {func(s *second) {
			s.raw(http2.FrameHeaders, endHeaders|http2.FlagHeadersPriority, 1, window(1)+"a"+s.request("GET"))
		}, "goaway PROTOCOL_ERROR"},
		"HEADERS padded too much":    {func(s *second) { s.raw(http2.FrameHeaders, endHeaders|http2.FlagHeadersPadded, 1, "\x7fa") }, "goaway PROTOCOL_ERROR"},
		"HEADERS of nothing, padded": {func(s *second) { s.raw(http2.FrameHeaders, endHeaders|http2.FlagHeadersPadded, 1, "") }, "goaway PROTOCOL_ERROR"},
		"HEADERS behind others": {func(s *second) {
			s.raw(http2.FrameHeaders, endHeaders|endStream, 5, s.request("GET"))
			s.raw(http2.FrameHeaders, endHeaders|endStream, 3, s.request("GET"))
		}, "goaway PROTOCOL_ERROR"},
		"HEADERS of a reset stream": {func(s *second) { open(s); s.raw(http2.FrameRSTStream, 0, 1, window(8)); open(s) }, "goaway STREAM_CLOSED"},
		"HEADERS that are no HPACK": {func(s *second) {
			s.raw(http2.FrameHeaders, endHeaders|endStream, 1, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
		}, "goaway COMPRESSION_ERROR"},
		"HEADERS that are cut":   {func(s *second) { s.raw(http2.FrameHeaders, endHeaders|endStream, 1, "\x40\x0a") }, "goaway COMPRESSION_ERROR"},
		"trailer without an end": {func(s *second) { open(s); s.raw(http2.FrameHeaders, endHeaders, 1, s.encoded("x-a", "b")) }, "reset PROTOCOL_ERROR"},
		"trailer with a pseudo":  {func(s *second) { open(s); s.raw(http2.FrameHeaders, endHeaders|endStream, 1, s.request("GET")) }, "reset PROTOCOL_ERROR"},

		"CONTINUATION of nothing": {func(s *second) { s.raw(http2.FrameContinuation, endHeaders, 1, s.request("GET")) }, "goaway PROTOCOL_ERROR"},
		"CONTINUATION of another": {func(s *second) {
			s.raw(http2.FrameHeaders, 0, 1, s.request("GET"))
			s.raw(http2.FrameContinuation, endHeaders, 3, "")
		}, "goaway PROTOCOL_ERROR"},
		"another frame in a head": {func(s *second) {
			s.raw(http2.FrameHeaders, 0, 1, s.request("GET"))
			s.raw(http2.FramePing, 0, 0, "12345678")
		}, "goaway PROTOCOL_ERROR"},
		"a head of endless nothing": {func(s *second) {
			s.raw(http2.FrameHeaders, 0, 1, s.request("GET"))
			for range http2Parts + 1 {
				_ = s.WriteRawFrame(http2.FrameContinuation, 0, 1, nil) // it may have ended before
			}
		}, "goaway ENHANCE_YOUR_CALM"},
		"an endless head": {func(s *second) {
			s.raw(http2.FrameHeaders, 0, 1, s.request("GET"))
			for range 8 {
				_ = s.WriteRawFrame(http2.FrameContinuation, 0, 1, make([]byte, http2Frame)) // as above
			}
		}, "goaway ENHANCE_YOUR_CALM"},

		"SETTINGS of a stream":       {func(s *second) { s.raw(http2.FrameSettings, 0, 1, "") }, "goaway PROTOCOL_ERROR"},
		"SETTINGS that are cut":      {func(s *second) { s.raw(http2.FrameSettings, 0, 0, "12345") }, "goaway FRAME_SIZE_ERROR"},
		"SETTINGS with an answer":    {func(s *second) { s.raw(http2.FrameSettings, http2.FlagSettingsAck, 0, "123456") }, "goaway FRAME_SIZE_ERROR"},
		"a push that is neither":     {func(s *second) { s.raw(http2.FrameSettings, 0, 0, setting(http2.SettingEnablePush, 2)) }, "goaway PROTOCOL_ERROR"},
		"a window that is too large": {func(s *second) { s.raw(http2.FrameSettings, 0, 0, setting(http2.SettingInitialWindowSize, 1<<31)) }, "goaway FLOW_CONTROL_ERROR"},
		"frames that are too small":  {func(s *second) { s.raw(http2.FrameSettings, 0, 0, setting(http2.SettingMaxFrameSize, 1<<14-1)) }, "goaway PROTOCOL_ERROR"},
		"frames that are too large":  {func(s *second) { s.raw(http2.FrameSettings, 0, 0, setting(http2.SettingMaxFrameSize, 1<<24)) }, "goaway PROTOCOL_ERROR"},
		"a window made too large": {func(s *second) {
			open(s)
			s.raw(http2.FrameWindowUpdate, 0, 1, window(1<<31-65536))
			s.raw(http2.FrameSettings, 0, 0, setting(http2.SettingInitialWindowSize, 65536))
		}, "goaway FLOW_CONTROL_ERROR"},

		"PING of a stream": {func(s *second) { s.raw(http2.FramePing, 0, 1, "12345678") }, "goaway PROTOCOL_ERROR"},
		"PING that is cut": {func(s *second) { s.raw(http2.FramePing, 0, 0, "1234567") }, "goaway FRAME_SIZE_ERROR"},

		"WINDOW_UPDATE that is cut":        {func(s *second) { s.raw(http2.FrameWindowUpdate, 0, 0, "123") }, "goaway FRAME_SIZE_ERROR"},
		"WINDOW_UPDATE of nothing":         {func(s *second) { s.raw(http2.FrameWindowUpdate, 0, 0, window(0)) }, "goaway PROTOCOL_ERROR"},
		"WINDOW_UPDATE of nothing for one": {func(s *second) { open(s); s.raw(http2.FrameWindowUpdate, 0, 1, window(0)) }, "reset PROTOCOL_ERROR"},
		"WINDOW_UPDATE of an idle stream":  {func(s *second) { s.raw(http2.FrameWindowUpdate, 0, 1, window(1)) }, "goaway PROTOCOL_ERROR"},
		"too many WINDOW_UPDATEs":          {func(s *second) { s.raw(http2.FrameWindowUpdate, 0, 0, window(1<<31-1)) }, "goaway FLOW_CONTROL_ERROR"},
		"too many for one":                 {func(s *second) { open(s); s.raw(http2.FrameWindowUpdate, 0, 1, window(1<<31-1)) }, "reset FLOW_CONTROL_ERROR"},

		"RST_STREAM of an idle stream": {func(s *second) { s.raw(http2.FrameRSTStream, 0, 1, window(8)) }, "goaway PROTOCOL_ERROR"},
		"RST_STREAM of stream 0":       {func(s *second) { s.raw(http2.FrameRSTStream, 0, 0, window(8)) }, "goaway PROTOCOL_ERROR"},
		"RST_STREAM that is cut":       {func(s *second) { open(s); s.raw(http2.FrameRSTStream, 0, 1, "123") }, "goaway FRAME_SIZE_ERROR"},
		"PRIORITY of stream 0":         {func(s *second) { s.raw(http2.FramePriority, 0, 0, window(3)+"a") }, "goaway PROTOCOL_ERROR"},
		"PRIORITY that is cut":         {func(s *second) { s.raw(http2.FramePriority, 0, 1, window(3)) }, "reset FRAME_SIZE_ERROR"},
		"PRIORITY of itself":           {func(s *second) { s.raw(http2.FramePriority, 0, 1, window(1)+"a") }, "reset PROTOCOL_ERROR"},
		"PUSH_PROMISE":                 {func(s *second) { s.raw(http2.FramePushPromise, endHeaders, 1, window(2)) }, "goaway PROTOCOL_ERROR"},
		"GOAWAY of a stream":           {func(s *second) { s.raw(http2.FrameGoAway, 0, 1, "12345678") }, "goaway PROTOCOL_ERROR"},

		"less than was declared": {func(s *second) {
			s.open(1, false, "POST", "content-length", "3")
			s.raw(http2.FrameData, endStream, 1, "ab")
		}, "400"},
		"more than was declared": {func(s *second) {
			s.open(1, false, "POST", "content-length", "3")
			s.raw(http2.FrameData, 0, 1, "ab")
			s.raw(http2.FrameData, 0, 1, "cd")
		}, "reset PROTOCOL_ERROR"},

		"a frame of another kind":   {func(s *second) { s.raw(0xee, 0xff, 77, "what"); whole(s) }, "200"},
		"a setting of another kind": {func(s *second) { s.raw(http2.FrameSettings, 0, 0, setting(0xeeee, 1)); whole(s) }, "200"},
		"PRIORITY":                  {func(s *second) { s.raw(http2.FramePriority, 0, 1, window(0)+"a"); whole(s) }, "200"},
		"padding, priority, parts": {func(s *second) {
			b := s.request("POST")
			s.raw(http2.FrameHeaders, http2.FlagHeadersPadded|http2.FlagHeadersPriority, 1, "\x03"+window(0)+"a"+b[:2]+"\x00\x00\x00")
			s.raw(http2.FrameContinuation, 0, 1, "")
			s.raw(http2.FrameContinuation, endHeaders, 1, b[2:])
			s.raw(http2.FrameData, http2.FlagDataPadded, 1, "\x03ab\x00\x00\x00")
			s.raw(http2.FrameData, http2.FlagDataPadded|endStream, 1, "\x00")
		}, "200"},
	} {
		t.Run(name, func(t *testing.T) {
			s := d.second()
			s.t = t
			s.AllowIllegalWrites = true
			c.act(s)
			if got := s.outcome(1); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	first := d.dial()
	first.send(http2.ClientPreface)
	s := &second{Framer: http2.NewFramer(first.Conn, first.r), t: t}
	s.raw(http2.FramePing, 0, 0, "12345678")
	if got := s.outcome(1); got != "goaway PROTOCOL_ERROR" {
		t.Errorf("no SETTINGS first: %s", got)
	}
}

// TestMalformedRequests are reset (RFC 9113, 8.1.1), and reach nobody.
func TestMalformedRequests(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.Header["Cookie"], r.Header["X-A"], r.URL)
	})
	request := func(change func(fields []string) []string) []string {
		return change([]string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/run/public/"})
	}
	with := func(more ...string) []string { return request(func(f []string) []string { return append(f, more...) }) }
	without := func(name string) []string {
		return request(func(f []string) []string { i := slices.Index(f, name); return slices.Delete(f, i, i+2) })
	}
	for name, c := range map[string]struct {
		fields []string
		want   string
	}{
		"plain":                  {with(), "200"},
		"no method":              {without(":method"), "reset PROTOCOL_ERROR"},
		"no scheme":              {without(":scheme"), "reset PROTOCOL_ERROR"},
		"no path":                {without(":path"), "reset PROTOCOL_ERROR"},
		"no authority":           {append(without(":authority"), "host", "h"), "200"},
		"no host":                {without(":authority"), "400"},
		"an escape that is none": {slices.Insert(without(":path"), 0, ":path", "/run/public/50%"), "400"},
		"an empty path":          {append(without(":path"), "x-a", "b"), "reset PROTOCOL_ERROR"},
		"another's path":         {slices.Insert(without(":path"), 0, ":path", "http://other/"), "reset PROTOCOL_ERROR"},
		"a path with a space":    {slices.Insert(without(":path"), 0, ":path", "/run/public/ HTTP/1.1"), "400"},
		"the asterisk":           {slices.Insert(without(":path"), 0, ":path", "*"), "reset PROTOCOL_ERROR"},
		"two methods":            {with(":method", "GET"), "reset PROTOCOL_ERROR"},
		"two paths":              {with(":path", "/"), "reset PROTOCOL_ERROR"},
		"two authorities":        {with(":authority", "h"), "reset PROTOCOL_ERROR"},
		"an unknown pseudo":      {with(":what", "x"), "reset PROTOCOL_ERROR"},
		"an answer's pseudo":     {with(":status", "200"), "reset PROTOCOL_ERROR"},
		"a pseudo behind":        {append(append([]string{"x-a", "b"}, with()...), "x-b", "c"), "reset PROTOCOL_ERROR"},
		"upper case":             {with("X-A", "b"), "reset PROTOCOL_ERROR"},
		"upper case, common":     {with("Accept", "b"), "reset PROTOCOL_ERROR"},
		"no token":               {with("x a", "b"), "reset PROTOCOL_ERROR"},
		"an empty name":          {with("", "b"), "reset PROTOCOL_ERROR"},
		"a colon":                {with("x:a", "b"), "reset PROTOCOL_ERROR"},
		"a line end":             {with("x-a", "b\r\nx-b: c"), "reset PROTOCOL_ERROR"},
		"a zero":                 {with("x-a", "b\x00"), "reset PROTOCOL_ERROR"},
		"a space before":         {with("x-a", " b"), "reset PROTOCOL_ERROR"},
		"a tab behind":           {with("x-a", "b\t"), "reset PROTOCOL_ERROR"},
		"Connection":             {with("connection", "x-a"), "reset PROTOCOL_ERROR"},
		"Keep-Alive":             {with("keep-alive", "1"), "reset PROTOCOL_ERROR"},
		"Proxy-Connection":       {with("proxy-connection", "close"), "reset PROTOCOL_ERROR"},
		"Transfer-Encoding":      {with("transfer-encoding", "chunked"), "reset PROTOCOL_ERROR"},
		"Upgrade":                {with("upgrade", "websocket"), "reset PROTOCOL_ERROR"},
		"TE":                     {with("te", "gzip"), "reset PROTOCOL_ERROR"},
		"TE of trailers":         {with("te", "trailers"), "200"},
		"user and host":          {slices.Insert(without(":authority"), 0, ":authority", "me@h"), "400"},
		"CONNECT with a path":    {slices.Insert(without(":method"), 0, ":method", "CONNECT"), "reset PROTOCOL_ERROR"},
		"CONNECT":                {[]string{":method", "CONNECT", ":authority", "h:1"}, "404"},
		"a method that is none":  {slices.Insert(without(":method"), 0, ":method", "G(T"), "400"},
		"too many fields":        {with(slices.Repeat([]string{"x-a", "b"}, mostRequestFields+1)...), "431"},
		"a large field":          {with("x-a", strings.Repeat("\x7e", headerBytes)), "431"},
		"a bomb":                 {with(slices.Repeat([]string{"x-a", strings.Repeat("b", 2000)}, 200)...), "431"},
	} {
		t.Run(name, func(t *testing.T) {
			s := d.second()
			s.t = t
			s.AllowIllegalWrites = true
			b := []byte(s.encoded(c.fields...))
			if err := s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:min(len(b), http2Frame)], EndStream: true, EndHeaders: len(b) <= http2Frame}); err != nil {
				t.Fatal(err)
			}
			for len(b) > http2Frame {
				b = b[http2Frame:]
				if err := s.WriteContinuation(1, len(b) <= http2Frame, b[:min(len(b), http2Frame)]); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.outcome(1); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			s.open(3, true, "GET") // the table of fields is whole
			if got := s.outcome(3); got != "200" {
				t.Errorf("the next one: %s", got)
			}
		})
	}
}

// TestWindows: no more is sent than the consumer takes, of a stream, of all and after it has changed its mind; and it may send as much as was read.
func TestWindows(t *testing.T) {
	const size = 100_000
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = io.Copy(w, &pattern{left: size})
		_, _ = fmt.Fprint(w, n)
	})
	c := d.dial()
	c.send(http2.ClientPreface)
	s := &second{Framer: http2.NewFramer(c.Conn, c.r), t: t}
	s.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	s.encoder = hpack.NewEncoder(&s.block)
	if err := s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10}); err != nil {
		t.Fatal(err)
	}
	data := func(want int) (ended bool) {
		t.Helper()
		for want > 0 {
			frame, err := s.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if f, ok := frame.(*http2.DataFrame); ok {
				if want -= len(f.Data()); want < 0 {
					t.Fatalf("%d bytes too many", -want)
				}
				ended = f.StreamEnded()
			}
		}
		return ended
	}
	quiet := func() {
		t.Helper()
		if err := s.WritePing(false, [8]byte{1}); err != nil {
			t.Fatal(err)
		}
		for {
			frame, err := s.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			switch frame.(type) {
			case *http2.DataFrame:
				t.Fatal("more than the window")
			case *http2.PingFrame:
				return
			}
		}
	}
	s.open(1, true, "GET")
	data(10)
	quiet()
	_ = s.WriteWindowUpdate(1, 5)
	data(5)
	_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 2}) // eight less: it is negative
	quiet()
	_ = s.WriteWindowUpdate(1, 9)
	data(1)
	quiet()
	_ = s.WriteWindowUpdate(1, 1<<20) // now the connection's holds it up
	data(65535 - 16)
	quiet()
	_ = s.WriteWindowUpdate(0, 1<<20)
	if !data(size + 1 - 65535) {
		if got := s.outcome(1); got != "" {
			t.Errorf("ended by %q", got)
		}
	}
	_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	room := map[uint32]int{0: http2ConnWindow, 3: http2Window, 5: 3 << 20}
	upload := func(id uint32) {
		t.Helper()
		for left := 3 << 20; left > 0; {
			n := min(left, room[0], room[id], http2Frame)
			if n == 0 {
				frame, err := s.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				if f, ok := frame.(*http2.WindowUpdateFrame); ok {
					room[f.StreamID] += int(f.Increment)
				}
				continue
			}
			if err := s.WriteData(id, n == left, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			left -= n
			room[0] -= n
			room[id] -= n
		}
	}
	s.open(3, false, "POST")
	upload(3)
	if got := s.outcome(3); got != "200" {
		t.Errorf("the upload: %s", got)
	}
	s.raw(http2.FrameHeaders, endHeaders, 5, s.encoded(":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/run/unknown/"))
	if got := s.outcome(5); got != "404" {
		t.Errorf("an unknown API: %s", got)
	}
	upload(5) // was on its way, and is given back
	s.open(7, true, "GET")
	if got := s.outcome(7); got != "200" {
		t.Errorf("behind it: %s", got)
	}
}

// TestMoreThanTheWindow is an error where nobody reads.
func TestMoreThanTheWindow(t *testing.T) {
	d := newDoor(t, Config{}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	d.sandboxes.block = true
	s := d.second()
	s.open(1, false, "POST")
	for range http2Window/http2Frame + 1 {
		_ = s.WriteData(1, false, make([]byte, http2Frame)) // it may have ended before
	}
	if got := s.outcome(1); got != "reset FLOW_CONTROL_ERROR" {
		t.Error(got)
	}
}

// TestRapidReset: requests that are taken back at once do not add up (CVE-2023-44487), and cannot be had without end.
func TestRapidReset(t *testing.T) {
	d := newDoor(t, Config{}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := d.second()
	for id := uint32(1); id < 6000; id += 2 {
		s.open(id, true, "GET")
		if err := s.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
	}
	s.open(6001, true, "HEAD")
	if err := s.WritePing(false, [8]byte{1}); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := s.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := frame.(*http2.PingFrame); ok {
			break
		}
	}
	for begin := time.Now(); d.gateway.admission.count("api_public") > 1; time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("requests that were taken back hold places")
		}
	}
}

// TestStreamsAreCounted: a stream above the limit may be tried again, and can be as soon as another has ended.
func TestStreamsAreCounted(t *testing.T) {
	end := make(chan struct{})
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) { <-end })
	s := d.second()
	id := uint32(1)
	for ; id < 2*http2Streams; id += 2 {
		s.open(id, true, "GET")
	}
	s.open(id, true, "GET")
	if got := s.outcome(id); got != "reset REFUSED_STREAM" {
		t.Errorf("one more: %s", got)
	}
	close(end)
	if got := s.outcome(1); got != "200" {
		t.Fatalf("the first: %s", got)
	}
	s.open(id+2, true, "GET")
	if got := s.outcome(id + 2); got != "200" {
		t.Errorf("one after the first: %s", got)
	}
}

// TestFloodOfPings: whoever lets answers wait without end is left.
func TestFloodOfPings(t *testing.T) {
	d := newDoor(t, Config{}, echo)
	s := d.second()
	end := time.Now().Add(patience)
	for time.Now().Before(end) {
		if s.WritePing(false, [8]byte{}) != nil {
			return
		}
	}
	t.Fatal("it is still there")
}

// TestHTTP2RecordsFirst: the record is kept before the consumer can know that the answer is whole.
func TestHTTP2RecordsFirst(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/empty":
			w.Header().Set("Content-Length", "0")
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/stream":
			_, _ = io.WriteString(w, "a")
			_ = http.NewResponseController(w).Flush()
		default:
			_, _ = io.WriteString(w, "hello")
		}
	})
	s := d.second()
	id := uint32(1)
	for _, path := range []string{"/", "/empty", "/none", "/stream"} {
		for _, method := range []string{"GET", "HEAD"} {
			for range 20 {
				before := d.journal.len()
				s.raw(http2.FrameHeaders, endHeaders|endStream, id, s.encoded(":method", method, ":scheme", "http", ":authority", "h", ":path", "/run/public"+path))
				if got := s.outcome(id); !strings.HasPrefix(got, "20") {
					t.Fatalf("%s %s: %s", method, path, got)
				}
				if d.journal.len() != before+1 {
					t.Fatalf("%s %s: the answer is whole and has no record", method, path)
				}
				id += 2
			}
		}
	}
}

// TestHTTP2Trailers pass both ways, where they may.
func TestHTTP2Trailers(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Sum")
		_, _ = fmt.Fprintf(w, "%s %s", text, r.Trailer.Get("X-End"))
		w.Header().Set("X-Sum", "1")
	})
	s := d.second()
	s.open(1, false, "POST", "trailer", "x-end")
	s.raw(http2.FrameData, 0, 1, "body")
	s.raw(http2.FrameHeaders, endHeaders|endStream, 1, s.encoded("x-end", "yes", "x-other", "no"))
	text, sum := "", ""
	for sum == "" {
		frame, err := s.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := frame.(type) {
		case *http2.DataFrame:
			text += string(f.Data())
		case *http2.MetaHeadersFrame:
			for _, field := range f.RegularFields() {
				if field.Name == "x-sum" {
					sum = field.Value
				}
			}
			if sum != "" && !f.StreamEnded() {
				t.Error("a trailer before the end")
			}
		}
	}
	if text != "body yes" || sum != "1" {
		t.Errorf("%q, %q", text, sum)
	}
}

// TestLargeHeads are sent in parts.
func TestLargeHeads(t *testing.T) {
	value := strings.Repeat("v~", 10_000)
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Large", r.Header.Get("X-Large")) })
	s := d.second()
	s.MaxHeaderListSize = 1 << 20
	b := []byte(s.encoded(":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/run/public/", "x-large", value))
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:http2Frame], EndStream: true})
	_ = s.WriteContinuation(1, true, b[http2Frame:])
	for {
		frame, err := s.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := frame.(*http2.MetaHeadersFrame); ok {
			for _, field := range f.RegularFields() {
				if field.Name == "x-large" && field.Value == value {
					return
				}
			}
			t.Fatalf("%v", f.RegularFields())
		}
	}
}

// TestHTTP2Drain: what is under way is answered, nothing else is served, and the connection ends.
func TestHTTP2Drain(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{}, 2)
	d := newDoor(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "done")
	})
	s, idle := d.second(), d.second()
	s.open(1, true, "GET")
	within(t, "arrival", arrived)
	drained := make(chan error, 1)
	go func() { drained <- d.gateway.Drain(t.Context()) }()
	for gone := false; !gone; {
		frame, err := s.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := frame.(*http2.GoAwayFrame); ok {
			gone = f.LastStreamID == 1 && f.ErrCode == http2.ErrCodeNo
		}
	}
	s.open(3, false, "POST") // before it knows; what follows is nobody's fault either
	_ = s.WriteData(3, false, []byte("abc"))
	_ = s.WriteWindowUpdate(3, 10)
	s.raw(http2.FrameHeaders, endHeaders|endStream, 3, s.encoded("x-end", "1"))
	_ = s.WriteRSTStream(3, http2.ErrCodeCancel)
	close(release)
	if got := s.outcome(1); got != "200" {
		t.Errorf("what was under way: %s", got)
	}
	if got := s.outcome(3); got != "closed" {
		t.Errorf("what came later: %s", got)
	}
	if got := idle.outcome(1); got != "closed" {
		t.Errorf("an idle one: %s", got)
	}
	if err := within(t, "Drain", drained); err != nil || len(arrived) > 0 {
		t.Errorf("%v, %d more requests", err, len(arrived))
	}
}

// TestGoAwayIsBehindTheAnswers: a consumer may take nothing more of a connection that is to end.
func TestGoAwayIsBehindTheAnswers(t *testing.T) {
	first, second, arrived := make(chan struct{}), make(chan struct{}), make(chan struct{}, 2)
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		if r.Header.Get("X-Second") == "" {
			<-first
		} else {
			<-second
		}
		_, _ = io.WriteString(w, "done")
	})
	s := d.second()
	s.open(1, true, "GET")
	s.open(3, true, "GET", "x-second", "1")
	within(t, "arrival", arrived)
	within(t, "arrival", arrived)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.gateway.Retire(t.Context())
	}()
	for begin := time.Now(); !d.gateway.traffic.isRetiring(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("it does not retire")
		}
	}
	close(first)
	answered := 0
	for gone := false; !gone; {
		frame, err := s.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch h := frame.Header(); {
		case h.Type == http2.FrameGoAway:
			gone = true
			if last := frame.(*http2.GoAwayFrame).LastStreamID; answered < 2 || last != 3 {
				t.Errorf("it comes behind %d answers, and names %d", answered, last)
			}
		case (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) && h.Flags.Has(endStream):
			if answered++; answered == 1 {
				close(second)
			}
		}
	}
	if got := s.outcome(5); got != "closed" {
		t.Errorf("then: %s", got)
	}
	within(t, "Retire", ended)
}

// TestHTTP2Silence: a connection on which nothing is under way ends after a time, and one with a request when its consumer does not answer.
func TestHTTP2Silence(t *testing.T) {
	for name, c := range map[string]struct {
		request, answers, drain bool
		took                    time.Duration
	}{
		"idle":                            {took: keepAlive},
		"a consumer is there":             {request: true, answers: true, took: 10 * time.Minute},
		"a consumer has left":             {request: true, took: keepAlive + pingTimeout},
		"one is there while it drains":    {request: true, answers: true, drain: true, took: 10 * time.Minute},
		"one has left while it drains":    {request: true, drain: true, took: keepAlive + pingTimeout},
		"nothing is asked for, it drains": {drain: true, took: time.Minute + lastWords},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, server, end := serveHTTP1(func(w http.ResponseWriter, r *http.Request) {
					select {
					case <-r.Context().Done():
					case <-time.After(10 * time.Minute):
					}
				})
				conn := l.dial()
				framer := http2.NewFramer(conn, conn)
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					_, _ = io.WriteString(conn, http2.ClientPreface)
					_ = framer.WriteSettings()
					if c.request {
						var block bytes.Buffer
						e := hpack.NewEncoder(&block)
						for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/"}} {
							_ = e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
						}
						_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
					}
				}()
				began := time.Now()
				if c.drain {
					go func() {
						time.Sleep(time.Minute)
						_ = server.Shutdown(context.Background())
					}()
				}
				for {
					frame, err := framer.ReadFrame()
					if err != nil {
						break
					}
					if p, ok := frame.(*http2.PingFrame); ok && c.answers {
						<-sent
						_ = framer.WritePing(true, p.Data)
					}
					if frame.Header().Type == http2.FrameHeaders {
						break
					}
				}
				if took := time.Since(began); took < c.took || took > c.took+2*time.Second {
					t.Errorf("it took %v", took)
				}
				_ = conn.Close()
				end()
				synctest.Wait()
			})
		})
	}
}

// TestNobodyIsHeldUpByAWindow: a consumer that takes nothing of an answer holds no place and no sandbox with one that is small.
func TestNobodyIsHeldUpByAWindow(t *testing.T) {
	d := newRawDoor(t, Config{ExitWait: time.Millisecond}, func(conn net.Conn, r *bufio.Reader) {
		_, _ = readHead(r)
		_, _ = io.WriteString(conn, "no HTTP\r\n\r\n")
	})
	s := d.second()
	if err := s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		t.Fatal(err)
	}
	for id := uint32(1); id < 20; id += 2 {
		s.open(id, true, "GET")
	}
	for range 10 {
		if u := d.record(); u.Status != 502 {
			t.Errorf("record %+v", u)
		}
	}
	for begin := time.Now(); d.gateway.admission.count("api_public") > 0; time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("places are held")
		}
	}
	_ = s.WriteWindowUpdate(1, 1<<16)
	if got := s.outcome(1); got != "502" {
		t.Error(got)
	}
}

// TestABodyIsWholeByItsLength: a stream that does not end holds nothing once its body has come.
func TestABodyIsWholeByItsLength(t *testing.T) {
	d := newDoor(t, Config{}, echo)
	s := d.second()
	s.open(1, false, "POST", "content-length", "4")
	s.raw(http2.FrameData, 0, 1, "body")
	if got := s.outcome(1); got != "200" {
		t.Fatal(got)
	}
	for begin := time.Now(); d.gateway.admission.count("api_public") > 0; time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("a place is held")
		}
	}
	s.open(3, false, "POST", "content-length", "4")
	s.raw(http2.FrameData, 0, 3, "body")
	time.Sleep(endGrace / 20) // while the body has come
	s.raw(http2.FrameData, endStream, 3, "")
	s.open(5, false, "POST", "content-length", "0") // nobody reads it
	s.open(7, true, "GET")
	for answered := 0; answered < 3; {
		frame, err := s.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch h := frame.Header(); {
		case h.Type == http2.FrameRSTStream && h.StreamID > 1:
			t.Errorf("stream %d was reset", h.StreamID)
		case (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) && h.StreamID > 1 && h.Flags.Has(endStream):
			answered++
		}
	}
}

// TestOneWindowForAll: streams that wait for the connection's window get it one after the other, also when one of them ends meanwhile.
func TestOneWindowForAll(t *testing.T) {
	const size = 100_000
	d := newDoor(t, Config{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, &pattern{left: size}) })
	s := d.second()
	if err := s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		t.Fatal(err)
	}
	left, first := map[uint32]int{}, map[uint32]int{}
	for id := uint32(1); id < 13; id += 2 {
		s.open(id, true, "GET")
		left[id] = size
	}
	seen, all, begun := 0, false, 0
	for len(left) > 0 {
		frame, err := s.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := frame.(*http2.MetaHeadersFrame); ok {
			if begun++; begun == len(left) {
				_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
			}
		}
		f, ok := frame.(*http2.DataFrame)
		if !ok {
			continue
		}
		seen += len(f.Data())
		if left[f.StreamID] -= len(f.Data()); f.StreamEnded() {
			if left[f.StreamID] != 0 {
				t.Errorf("stream %d lacks %d bytes", f.StreamID, left[f.StreamID])
			}
			delete(left, f.StreamID)
		}
		if seen == 65535 { // all wait
			first = maps.Clone(left)
			time.Sleep(10 * time.Millisecond)
			_ = s.WriteRSTStream(3, http2.ErrCodeCancel)
			delete(left, 3)
		}
		switch {
		case len(f.Data()) == 0 || seen < 65535 || seen > 200_000 && all:
		case seen > 200_000:
			all = true
			for id, n := range left {
				if got := first[id] - n; got == 0 {
					t.Errorf("stream %d got %d bytes while all together got %d", id, got, seen-65535)
				}
			}
			_ = s.WriteWindowUpdate(0, 1<<24) // once for all that wait
		default:
			_ = s.WriteWindowUpdate(0, uint32(min(len(f.Data())+7, 9000))) //nolint:gosec // a frame's
		}
	}
}

// TestNobodyIsHeldUpByWhatWaits: where much waits for a consumer that takes nothing, a small answer holds its request up no more than a large one's
// end would, and when all is read the connection holds little.
func TestNobodyIsHeldUpByWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var large, small atomic.Int32
		l, server, end := serveHTTP1(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/small" {
				w.WriteHeader(http.StatusForbidden)
				small.Add(1)
				return
			}
			_, _ = w.Write(make([]byte, 100_000))
			large.Add(1)
		})
		conn := l.dial()
		s := &second{Framer: http2.NewFramer(conn, conn), t: t}
		s.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		s.encoder = hpack.NewEncoder(&s.block)
		_, _ = io.WriteString(conn, http2.ClientPreface)
		for range 2 { // what greets
			if _, err := s.ReadFrame(); err != nil {
				t.Fatal(err)
			}
		}
		_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		_ = s.WriteWindowUpdate(0, 1<<24)
		const requests = 8
		for i := range uint32(requests + 1) {
			path := "/"
			if i == requests {
				path = "/small"
			}
			s.raw(http2.FrameHeaders, endHeaders|endStream, 2*i+1, s.encoded(":method", "GET", ":scheme", "http", ":authority", "h", ":path", path))
		}
		synctest.Wait()
		if small.Load() != 1 || large.Load() != 0 {
			t.Errorf("%d small and %d large answers are over", small.Load(), large.Load())
		}
		for ended := 0; ended <= requests; {
			frame, err := s.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if h := frame.Header(); (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) && h.Flags.Has(endStream) {
				ended++
			}
		}
		synctest.Wait()
		server.mu.Lock()
		for c := range server.conns {
			h := c.second.Load()
			h.mu.Lock()
			if n := cap(h.out) + cap(h.sent); n > together {
				t.Errorf("an idle connection holds %d bytes", n)
			}
			h.mu.Unlock()
		}
		server.mu.Unlock()
		_ = conn.Close()
		end()
		synctest.Wait()
	})
}

// TestHTTP2Requests: crumbs of a cookie are one, a consumer that waits to be asked for a body is, and one that expects anything else is told.
func TestHTTP2Requests(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if string(text) == "break" {
			_, _ = io.WriteString(w, "begin")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("X-Seen", fmt.Sprintf("%q %q", r.Header["Cookie"], text))
	})
	s := d.second()
	s.open(1, true, "GET", "cookie", "a=1", "x-a", "b", "cookie", "b=2", "cookie", "c=3")
	for seen := ""; seen == ""; {
		frame, err := s.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := frame.(*http2.MetaHeadersFrame); ok {
			for _, field := range f.RegularFields() {
				if field.Name == "x-seen" {
					seen = field.Value
				}
			}
			if want := `["a=1; b=2; c=3"] ""`; seen != want {
				t.Errorf("the program saw %s, want %s", seen, want)
			}
		}
	}
	s.open(3, false, "POST", "expect", "100-continue")
	for asked := false; !asked; {
		frame, err := s.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := frame.(*http2.MetaHeadersFrame); ok && f.StreamID == 3 {
			asked = f.PseudoValue("status") == "100"
		}
	}
	s.raw(http2.FrameData, endStream, 3, "body")
	if got := s.outcome(3); got != "200" {
		t.Errorf("one that waited: %s", got)
	}
	s.open(5, true, "POST", "expect", "more")
	if got := s.outcome(5); got != "417" {
		t.Errorf("one that expects more: %s", got)
	}
	s.open(7, false, "POST")
	s.raw(http2.FrameData, endStream, 7, "break")
	if got := s.outcome(7); got != "200 reset INTERNAL_ERROR" {
		t.Errorf("an answer that broke off: %s", got)
	}
}

// TestWhatWasOnItsWay to a stream that the gateway has reset ends nothing else (RFC 9113, 5.1).
func TestWhatWasOnItsWay(t *testing.T) {
	d := newRawDoor(t, Config{ExitWait: time.Millisecond}, func(conn net.Conn, r *bufio.Reader) {
		_, _ = readHead(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegin")
	})
	s := d.second()
	s.open(1, false, "POST", "trailer", "x-end")
	if got := s.outcome(1); got != "200 reset INTERNAL_ERROR" {
		t.Fatal(got)
	}
	_ = s.WriteData(1, false, []byte("more"))
	_ = s.WriteWindowUpdate(1, 10)
	s.raw(http2.FrameHeaders, endHeaders|endStream, 1, s.encoded("x-end", "1"))
	s.open(3, true, "GET")
	if got := s.outcome(3); got != "200 reset INTERNAL_ERROR" {
		t.Errorf("the next one: %s", got)
	}
}

// Whatever comes behind the preface, the connection ends, and what the handler sees is well formed.
func FuzzHTTP2(f *testing.F) {
	var seed bytes.Buffer
	framer := http2.NewFramer(&seed, nil)
	_ = framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/"}, {"content-length", "2"}, {"trailer", "a"}} {
		_ = e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	_ = framer.WriteDataPadded(1, false, []byte("ab"), []byte{0, 0})
	_ = framer.WritePing(false, [8]byte{})
	_ = framer.WriteWindowUpdate(1, 9)
	_ = framer.WriteRSTStream(1, 8)
	f.Add(seed.Bytes(), true)
	f.Fuzz(func(t *testing.T, frames []byte, reads bool) {
		g := &Gateway{config: Config{}.withDefaults()}
		g.log = g.config.Log
		s := newConsumerServer(g, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "" || r.RequestURI == "" || r.ProtoMajor != 2 {
				t.Errorf("the handler sees %+v", r)
			}
			for name, values := range r.Header {
				for _, value := range values {
					if !isToken(name) || !isFieldValue(value) || name != http.CanonicalHeaderKey(name) {
						t.Errorf("the handler sees %q: %q", name, value)
					}
				}
			}
			if reads {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			_, _ = io.WriteString(w, "ok")
		}))
		conn := &scriptConn{text: append([]byte(http2.ClientPreface), frames...)}
		newHTTP1(s, newConsumerConn(conn, g)).serve()
		if !conn.closed {
			t.Error("the connection is open still")
		}
	})
}
