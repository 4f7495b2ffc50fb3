package gateway

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

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
		frame := s.frame()
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
