package gateway

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// TestPiecesThatAreReadAheadComeAtOnce sends bodies of which nobody can know what is there without reading it, inside TLS and behind the PROXY protocol.
// The next piece is sent when the program has the one before.
func TestPiecesThatAreReadAheadComeAtOnce(t *testing.T) {
	const record = 16 << 10 // the most that one has
	sizes := []int{1, 2, smallBytes - 1, smallBytes, smallBytes + 1, 2 * smallBytes, 5000, record - 1, record, record + 1, record + smallBytes, 3*record - 7, 1}
	var all int
	for _, size := range sizes {
		all += size
	}
	arrived := make(chan []byte)
	program := func(_ http.ResponseWriter, r *http.Request) {
		for _, size := range sizes {
			piece := make([]byte, size)
			if _, err := io.ReadFull(r.Body, piece); err != nil {
				t.Error(err)
			}
			arrived <- piece
		}
		if n, err := r.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("behind the last piece: %d bytes, %v", n, err)
		}
	}
	for name, c := range map[string]struct {
		config  Config
		secure  bool
		preface string
	}{
		"TLS":                       {secure: true},
		"PROXY protocol":            {config: Config{TrustedProxies: loopback, ProxyProtocol: true}, preface: "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"},
		"TLS behind PROXY protocol": {Config{TrustedProxies: loopback, ProxyProtocol: true}, true, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, c.config, program)
			if c.secure {
				d.secure()
			}
			security := d.security
			d.security = nil
			conn := d.dial()
			conn.send("%s", c.preface)
			if c.secure {
				secure := tls.Client(conn.Conn, security)
				conn = &raw{secure, t, bufio.NewReader(secure)}
			}
			for _, framing := range []string{fmt.Sprintf("Content-Length: %d", all), "Transfer-Encoding: chunked"} {
				conn.send("POST /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\n%s\r\n\r\n", testKey, framing)
				for i, size := range sizes {
					piece := bytes.Repeat([]byte{'a' + byte(i)}, size)
					if strings.HasPrefix(framing, "T") {
						conn.send("%x\r\n%s\r\n", size, piece)
					} else {
						conn.send("%s", piece)
					}
					if got := within(t, fmt.Sprintf("piece %d of %d bytes, %s", i, size, framing), arrived); !bytes.Equal(got, piece) {
						t.Fatalf("another piece than the one of %d bytes came, %s", size, framing)
					}
				}
				if strings.HasPrefix(framing, "T") {
					conn.send("0\r\n\r\n")
				}
				if got := conn.answer("POST"); got.StatusCode != 200 {
					t.Errorf("status %d", got.StatusCode)
				}
			}
		})
	}
}

// TestAwaitInsideTLS takes a record by one read, as without it, and a timeout once.
func TestAwaitInsideTLS(t *testing.T) {
	authority := httptest.NewUnstartedServer(nil) // for its certificate
	authority.StartTLS()
	defer authority.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	client := tls.Client(theirs, &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
	conn, err := socketListener{l}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := newConsumerConn(tls.Server(conn, authority.TLS), &Gateway{config: Config{}.withDefaults()})
	c.free.Store(true)
	p := make([]byte, copyBytes)
	read := func(want int) {
		t.Helper()
		c.await()
		if n, err := c.Read(p); n != want || err != nil {
			t.Fatalf("read %d bytes, %v; want %d", n, err, want)
		}
	}
	go func() { _, _ = client.Write(make([]byte, 16<<10+smallBytes)) }()
	read(16 << 10)
	read(smallBytes)
	_ = c.SetReadDeadline(time.Unix(1, 0))
	c.await()
	_ = c.SetReadDeadline(time.Now().Add(patience)) // whoever stopped who waited goes on
	if n, err := c.Read(p); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v behind the deadline", n, err)
	}
	go func() {
		_, _ = client.Write([]byte("last"))
		_ = client.Close()
	}()
	read(len("last"))
	c.await()
	if n, err := c.Read(p); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("read %d bytes, %v at the end", n, err)
	}
}
