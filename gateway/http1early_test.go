package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What comes before an answer has no watchdog: a consumer that reads nothing holds its request for a time all the same.
func TestWhatComesBeforeAnAnswerHasADeadline(t *testing.T) {
	for name, before := range map[string]func(http.ResponseWriter, *http.Request){
		"103": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusEarlyHints) },
		"100": func(_ http.ResponseWriter, r *http.Request) { _, _ = r.Body.Read(make([]byte, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took := make(chan time.Duration, 1)
				l, _, end := serveHTTP1(func(w http.ResponseWriter, r *http.Request) {
					began := time.Now()
					before(w, r)
					took <- time.Since(began)
				})
				defer end()
				c := l.dial()
				defer c.Close()
				_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx")
				if got := <-took; got > writeGrace {
					t.Errorf("it took %v", got)
				}
			})
		})
	}
}

// A length in an informational response (RFC 9110, 8.6) would have some clients wait for a body.
func TestInformationalResponsesHaveNoLength(t *testing.T) {
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nLink: x\r\n\r\n"+
			"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
	})
	c := d.dial()
	c.send("GET /run/public/ HTTP/1.1\r\nHost: h\r\n\r\n")
	head, err := readHead(c.r)
	if err != nil || !strings.HasPrefix(head, "HTTP/1.1 103 ") || !strings.Contains(head, "Link: x\r\n") || strings.Contains(head, "Content-Length") {
		t.Errorf("got %q, %v", head, err)
	}
	if got := c.answer("GET"); got.StatusCode != 200 || got.text != "ok" {
		t.Errorf("answer %d %q", got.StatusCode, got.text)
	}
}
