package gateway

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"testing"
)

// mostAllocations is what a small request may allocate on its whole way: consumer's connection, gateway, program's connection. A
// change that needs more should know why.
const mostAllocations = 11 // 6, of which one is the program's; 10 with -race, whose pools forget

const (
	smallRequest = "GET /run/private/items/1?q=2 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-API-Key: " + testKey + "\r\n\r\n"
	smallAnswer  = "HTTP/1.1 200 OK\r\ndate: Sat, 28 Nov 2026 03:00:00 GMT\r\nserver: uvicorn\r\n" +
		"content-type: application/json\r\ncontent-length: 17\r\n\r\n" + `{"hello":"world"}`
)

// smallExchange returns what sends one small request through a gateway with keys and limits, and reads the answer. Neither the
// consumer nor the program allocates anything.
func smallExchange(t testing.TB) func() {
	t.Helper()
	d := newRawDoor(t, Config{}, func(c net.Conn, _ *bufio.Reader) {
		buffer := make([]byte, 4096)
		for have := 0; ; {
			n, err := c.Read(buffer[have:])
			if err != nil {
				return
			}
			if have += n; bytes.HasSuffix(buffer[:have], []byte("\r\n\r\n")) {
				have = 0
				if _, err := io.WriteString(c, smallAnswer); err != nil {
					return
				}
			}
		}
	})
	limitAPI(d, "api_private", 1_000_000_000)
	d.gateway.journal = discardJournal{}
	conn, buffer := d.dial(), make([]byte, 4096)
	request := []byte(smallRequest)
	return func() {
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		for have := 0; ; {
			n, err := conn.Read(buffer[have:])
			if err != nil {
				t.Fatal(err)
			}
			if have += n; bytes.HasSuffix(buffer[:have], []byte(`{"hello":"world"}`)) {
				return
			}
		}
	}
}

func TestAllocationsOfARequest(t *testing.T) {
	once := smallExchange(t)
	once()
	if n := testing.AllocsPerRun(500, once); n > mostAllocations {
		t.Fatalf("a small request allocates %.0f times, more than %d", n, mostAllocations)
	}
}

// BenchmarkRequest is for profiles of the gateway alone: go test -run '^$' -bench BenchmarkRequest -memprofile FILE.
func BenchmarkRequest(b *testing.B) {
	once := smallExchange(b)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}
