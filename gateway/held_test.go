package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// TestWhatWaitsHoldsLittle also after a piece that was larger than what is read into at first.
func TestWhatWaitsHoldsLittle(t *testing.T) {
	const conns = 100
	piece := strings.Repeat("X", 5000) + "\n"
	read := func(t *testing.T, r io.Reader, want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
			t.Fatalf("got %.20q..., %v", got, err)
		}
	}
	t.Run("WebSocket", func(t *testing.T) {
		d := newRawDoor(t, Config{}, echoSwitch)
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
