package gateway

import (
	"io"
	"net"
	"net/http"
	"testing"
)

// redirectDoor returns the address of a listener that sends consumers to a port.
func redirectDoor(t *testing.T, d *door, port int, first func(http.ResponseWriter, *http.Request) bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.gateway.ServeRedirect(l, port, first) }()
	t.Cleanup(func() {
		_ = d.gateway.Drain(t.Context())
		if err := <-done; err != http.ErrServerClosed {
			t.Errorf("ended with %v", err)
		}
	})
	return l.Addr().String()
}

func TestRedirect(t *testing.T) {
	for _, c := range []struct {
		port             int
		line, host, rest string
		status           int
		location         string
	}{
		{443, "GET /run/a/x%2f?q=1", "A.example", "", 308, "https://a.example/run/a/x%2f?q=1"},
		{8443, "POST /", "a.example:8080", "Content-Length: 2\r\n", 308, "https://a.example:8443/"},
		{443, "GET /", "[::1]:80", "", 308, "https://[::1]/"},
		{8443, "GET /", "[::1]", "", 308, "https://[::1]:8443/"},
		{443, "GET http://b.example/x", "a.example", "", 308, "https://b.example/x"},
		{443, "GET http://b.example", "a.example", "", 308, "https://b.example/"},
		{443, "GET http://b.example?q", "a.example", "", 308, "https://b.example/?q"},
		{443, "GET //evil.example/", "a.example", "", 308, "https://a.example//evil.example/"},
		{443, "GET /", "user@a.example", "", 400, ""},
		{443, "GET /", "", "", 400, ""},
		{443, "OPTIONS *", "a.example", "", 400, ""},
	} {
		d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
		d.addr = redirectDoor(t, d, c.port, nil)
		conn := d.dial()
		conn.send("%s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n", c.line, c.host, c.rest)
		if c.rest != "" {
			conn.send("hi")
		}
		got := conn.answer("GET")
		if got.StatusCode != c.status || got.Header.Get("Location") != c.location || got.Header.Get("X-Request-ID") == "" {
			t.Errorf("%s at %s: %d, %v", c.line, c.host, got.StatusCode, got.Header)
		}
	}
}

func TestRedirectAsksFirst(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	d.addr = redirectDoor(t, d, 443, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/challenge" {
			return false
		}
		_, _ = io.WriteString(w, "token")
		return true
	})
	conn := d.dial()
	conn.send("GET /challenge HTTP/1.1\r\nHost: a\r\n\r\n")
	if got := conn.answer("GET"); got.text != "token" {
		t.Errorf("%d %q", got.StatusCode, got.text)
	}
	conn.send("GET /other HTTP/1.1\r\nHost: a\r\n\r\n")
	if got := conn.answer("GET"); got.StatusCode != 308 {
		t.Errorf("status %d", got.StatusCode)
	}
}
