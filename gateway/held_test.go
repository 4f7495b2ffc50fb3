package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// TestWhatWaitsHoldsLittle also after a piece that was larger than what is read into at first.
func TestWhatWaitsHoldsLittle(t *testing.T) {
	if !isAlone(t) {
		return
	}
	const conns = 100
	piece := strings.Repeat("X", 5000) + "\n"
	read := func(t *testing.T, r io.Reader, want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
			t.Fatalf("got %.20q..., %v", got, err)
		}
	}
	for name, secure := range map[string]func(*door){"WebSocket": nil, "WebSocket inside TLS": (*door).secure} {
		t.Run(name, func(t *testing.T) {
			d := newRawDoor(t, Config{}, echoSwitch)
			if secure != nil {
				secure(d)
			}
			var all []*raw
			exchange := func(piece string) {
				for _, c := range all {
					c.send("%s", piece)
					read(t, c.r, piece)
				}
			}
			for range conns {
				c := d.upgrade("")
				c.head("GET")
				all = append(all, c)
			}
			exchange("SHORT\n")
			before := heldBytes()
			exchange(piece)
			littleMore(t, before, conns)
			exchange(piece + piece)
			exchange("SHORT\n")
		})
	}
	t.Run("stream", func(t *testing.T) {
		next, end := make(chan struct{}), make(chan struct{})
		d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
			if _, err := readHead(r); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nSHORT\n\r\n")
			<-next
			_, _ = fmt.Fprintf(conn, "%x\r\n%s\r\n", len(piece), piece)
			<-end
			_, _ = io.WriteString(conn, "4\r\nlast\r\n0\r\n\r\n")
		})
		var all []*http.Response
		for range conns {
			c := d.dial()
			c.send("GET /run/private/events HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\n\r\n", testKey)
			res := c.head("GET")
			read(t, res.Body, "SHORT\n")
			all = append(all, res)
		}
		before := heldBytes()
		close(next)
		for _, res := range all {
			read(t, res.Body, piece)
		}
		littleMore(t, before, conns)
		close(end)
		for _, res := range all {
			if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "last" {
				t.Fatalf("got %q, %v", rest, err)
			}
		}
	})
}

// TestUploadsThatWaitHoldLittle compares requests with a body that has not come to its end with requests that have none.
func TestUploadsThatWaitHoldLittle(t *testing.T) {
	if !isAlone(t) {
		return
	}
	const conns, piece = 40, 1000
	head := " /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: " + testKey + "\r\n"
	text := strings.Repeat("x", piece)
	oneByOne := func(method, rest string) func(*door) {
		return func(d *door) {
			for range conns {
				d.dial().send("%s", method+head+rest)
			}
		}
	}
	type kind struct {
		secure            bool
		whole, unfinished func(*door)
	}
	sized := kind{false, oneByOne("GET", "\r\n"), oneByOne("POST", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", piece+1, text))}
	chunked := kind{false, oneByOne("GET", "\r\n"), oneByOne("POST", fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", piece, text))}
	for name, c := range map[string]kind{
		"sized": sized, "sized inside TLS": {true, sized.whole, sized.unfinished},
		"chunked": chunked, "chunked inside TLS": {true, chunked.whole, chunked.unfinished},
		"HTTP2": {false, func(d *door) {
			s := d.second()
			for id := range uint32(conns) {
				s.open(2*id+1, true, "GET")
			}
		}, func(d *door) {
			s := d.second()
			for id := range uint32(conns) {
				s.open(2*id+1, false, "POST")
				s.raw(http2.FrameData, 0, 2*id+1, text)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			end := make(chan struct{})
			here := make(chan struct{}, conns)
			d := newDoor(t, Config{}, func(_ http.ResponseWriter, r *http.Request) {
				if _, err := io.ReadFull(r.Body, make([]byte, piece)); err == nil || r.Method == http.MethodGet {
					here <- struct{}{}
				}
				<-end
			})
			defer close(end)
			if c.secure {
				d.secure()
			}
			held := func(open func(*door)) int64 {
				before := heldBytes()
				open(d)
				for range conns {
					within(t, "a request at the program", here)
				}
				return (heldBytes() - before) / conns
			}
			none := held(c.whole)
			if more := held(c.unfinished) - none; more > copyBytes/2 {
				t.Errorf("a body that waits holds %d bytes, beside %d of its request", more, none)
			}
		})
	}
}

// isAlone reports whether the test runs in a process of its own, where what others leave behind is not measured with it. If not, it runs it
// in one.
func isAlone(t *testing.T) bool {
	t.Helper()
	const marker = "APIBUILDER_TEST_ALONE"
	if os.Getenv(marker) == t.Name() {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), marker+"="+t.Name())
	output, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "--- PASS: "+t.Name()+" ") {
		t.Errorf("%v\n%s", err, output)
	}
	return false
}

// heldBytes is what is in use when nobody uses what pools have.
func heldBytes() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func littleMore(t *testing.T, before int64, conns int) {
	t.Helper()
	if each := (heldBytes() - before) / int64(conns); each > copyBytes/4 {
		t.Errorf("each holds %d bytes more than before", each)
	}
}
