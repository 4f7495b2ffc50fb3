package gateway

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
)

// What HTTP/1.0 gets ends where its connection does, so the end of one that broke off must not look like any other.
func TestABrokenAnswerOfHTTP10IsReset(t *testing.T) {
	d := newRawDoor(t, Config{}, func(c net.Conn, r *bufio.Reader) {
		for {
			if line, err := r.ReadString('\n'); err != nil || line == "\r\n" {
				break
			}
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	})
	conn := d.dial()
	conn.send("GET /run/public/ HTTP/1.0\r\n\r\n")
	got, err := io.ReadAll(conn)
	if !strings.HasSuffix(string(got), "\r\n\r\nabc") || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a broken answer is %q and ends with %v", got, err)
	}
}
