package gateway_test

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	held = flag.Int("held", 4000, "connections to hold of each kind; the limit of open files must allow twice as many and some")
	huge = flag.Int64("huge", 1<<30, "bytes of the large bodies")
)

// BenchmarkHeld opens connections on which nothing moves, and reports the memory that each costs the gateway's process.
// It is meant for -benchtime 1x.
func BenchmarkHeld(b *testing.B) {
	kinds := []struct{ name, request, last string }{
		{"idle connection", "GET /run/bench/json HTTP/1.1\r\nHost: h\r\nX-API-Key: " + testKey + "\r\n\r\n", "12.5}"},
		{"SSE stream", "GET /run/bench/events HTTP/1.1\r\nHost: h\r\nX-API-Key: " + testKey + "\r\n\r\n", "data: open\n\n"},
		{"WebSocket", "GET /run/bench/ws HTTP/1.1\r\nHost: h\r\nX-API-Key: " + testKey + "\r\nConnection: Upgrade\r\n" +
			"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "open"},
	}
	for _, kind := range kinds {
		b.Run(strings.ReplaceAll(kind.name, " ", "-"), func(b *testing.B) {
			g := newGround(b)
			g.python("program.py", "app.py", g.socket, freeAddress(b))
			p := g.child("apibuilder")
			waitFor(b, p.url+"/json", testKey)
			address := strings.TrimPrefix(strings.Split(p.url, "/run/")[0], "http://")
			for b.Loop() {
				hold(b, address, kinds[0].request, kinds[0].last, 200) // what the runtime takes once
				before := p.memory(b, "VmRSS")
				begin := time.Now()
				conns := hold(b, address, kind.request, kind.last, *held)
				took := time.Since(begin)
				after := p.memory(b, "VmRSS")
				each := float64(after-before) / float64(len(conns)) / 1024
				fmt.Printf("\n%s: %d held, %.1f KiB each (%.0f -> %.0f MiB), opened in %v", kind.name, len(conns), each,
					float64(before)/(1<<20), float64(after)/(1<<20), took.Round(time.Millisecond))
				b.ReportMetric(each, "KiB/conn")
				for _, c := range conns {
					_ = c.Close()
				}
			}
		})
	}
}

// hold opens connections, sends a request on each and waits for the last bytes that come.
func hold(b *testing.B, address, request, last string, count int) []net.Conn {
	b.Helper()
	conns := make([]net.Conn, 0, count)
	for range count {
		c, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		conns = append(conns, c)
		if _, err := io.WriteString(c, request); err != nil {
			b.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		var text strings.Builder
		buffer := make([]byte, 4096)
		for !strings.Contains(text.String(), last) {
			n, err := c.Read(buffer)
			text.Write(buffer[:n])
			if err != nil {
				b.Fatalf("connection %d: %v after %q", len(conns), err, text.String())
			}
		}
	}
	return conns
}

// memory reads a line of /proc/PID/status, in bytes.
func (p *peer) memory(b *testing.B, name string) int64 {
	b.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.pids[0]))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	b.Fatalf("no %s", name)
	return 0
}

// BenchmarkHuge sends a large body up and another one down, and reports how far the gateway's memory moved.
func BenchmarkHuge(b *testing.B) {
	g := newGround(b)
	g.python("program.py", "app.py", g.socket, freeAddress(b))
	p := g.child("apibuilder")
	for range 20 { // warm
		waitFor(b, p.url+"/bytes/4000000", testKey)
	}
	for b.Loop() {
		for _, way := range []string{"up", "down"} {
			// proc(5), clear_refs: 5 resets the peak.
			if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.pids[0]), []byte("5"), 0); err != nil {
				b.Fatal(err)
			}
			before := p.memory(b, "VmRSS")
			begin := time.Now()
			var n int64
			if way == "up" {
				n = sendUp(b, p)
			} else {
				n = fetchDown(b, p)
			}
			if n != *huge {
				b.Fatalf("%s: %d bytes arrived", way, n)
			}
			moved := float64(p.memory(b, "VmHWM")-before) / (1 << 20)
			rate := float64(n) / (1 << 20) / time.Since(begin).Seconds()
			fmt.Printf("\n%d MiB %s: %.0f MiB/s, the gateway's memory moved by %.1f MiB", n>>20, way, rate, moved)
			b.ReportMetric(moved, "MiB-"+way)
		}
	}
}

func sendUp(b *testing.B, p *peer) int64 {
	b.Helper()
	r, err := http.NewRequest(http.MethodPost, p.url+"/upload", io.LimitReader(zeros{}, *huge))
	if err != nil {
		b.Fatal(err)
	}
	r.ContentLength = *huge
	r.Header.Set("X-API-Key", testKey)
	text := do(b, r)
	n, _ := strconv.ParseInt(strings.Trim(strings.TrimPrefix(string(text), `{"bytes":`), "}"), 10, 64)
	return n
}

func fetchDown(b *testing.B, p *peer) int64 {
	b.Helper()
	where, _ := url.JoinPath(p.url, "bytes", strconv.FormatInt(*huge, 10))
	r, err := http.NewRequest(http.MethodGet, where, nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("X-API-Key", testKey)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func do(b *testing.B, r *http.Request) []byte {
	b.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		b.Fatalf("%s: %v: %s", res.Status, err, text)
	}
	return text
}

type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
