package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A consumer that resets streams while informational answers are written to it. net/http writes them in another goroutine, which goes on
// when the stream has ended: the header must not be the one that is written to meanwhile. It takes the race detector to see it.
func TestStreamsThatEndWhileTheyAreInformed(t *testing.T) {
	const streams = 300
	hint := "HTTP/1.1 103 Early Hints\r\n" + strings.Repeat("Link: </x>; rel=preload\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\n", 20) + "\r\n"
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err == nil {
			_, _ = io.WriteString(conn, strings.Repeat(hint, mostInform)+"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	c := d.dial()
	c.send(http2.ClientPreface)
	framer := http2.NewFramer(c.Conn, c.r)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for id := uint32(1); id < 2*streams; id += 2 {
		block.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/run/public/"}} {
			_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // to memory
		}
		if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
		for { // up to the first that it is told
			frame, err := framer.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if frame.Header().StreamID == id {
				break
			}
		}
		if err := framer.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
	}
	for range streams {
		d.record()
	}
}

// brokenSink is a stream of HTTP/2 that ends within a write: what was to be written may be read after that.
type brokenSink struct {
	sink
	written []byte
}

func (s *brokenSink) Write(p []byte) (int, error) {
	s.written = p
	return 0, errors.New("stream closed")
}

// What may still be sent to one consumer must not be filled with what is for another.
func TestABufferWhoseWriteBrokeIsNotUsedAgain(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, &pattern{left: 1 << 20}) })
	w := &brokenSink{sink: sink{header: http.Header{}}}
	func() {
		defer func() { _ = recover() }() // it is broken off so
		d.gateway.ServeHTTP(w, httptest.NewRequest("GET", "/run/public/", nil))
	}()
	if len(w.written) == 0 {
		t.Fatal("nothing was written")
	}
	for range 1000 {
		large, small := copyBuffers.Get().(*[copyBytes]byte), smallBuffers.Get().(*[smallBytes]byte)
		if &large[0] == &w.written[0] || &small[0] == &w.written[0] {
			t.Fatal("the buffer is used again")
		}
	}
}

// net/http takes every method of HTTP/2. One that is no token is the consumer's mistake, and no program's.
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
