package gateway

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const switching = "HTTP/1.1 101 Own Words\r\nConnection: Upgrade, X-Hop\r\nX-Hop: 1\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Accept: abc\r\nX-Request-ID: theirs\r\n\r\n"

// echoSwitch agrees to every upgrade and echoes bytes in capitals until "bye".
func echoSwitch(conn net.Conn, r *bufio.Reader) {
	head, err := readHead(r)
	if err != nil {
		return
	}
	if len(fieldsOf(head, "Upgrade")) == 0 {
		_, _ = io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
		return
	}
	_, _ = io.WriteString(conn, switching)
	for {
		line, err := r.ReadString('\n')
		_, _ = io.WriteString(conn, strings.ToUpper(line))
		if err != nil || line == "bye\n" {
			return
		}
	}
}

func (d *door) upgrade(extra string) *raw {
	c := d.dial()
	c.send("GET /run/private/ws HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"+
		"Sec-WebSocket-Key: x\r\n\r\n%s", testKey, extra)
	return c
}

func TestWebSocket(t *testing.T) {
	d := newRawDoor(t, Config{}, echoSwitch)
	limitAPI(d, "api_private", 10)
	c := d.upgrade("early\n") // sent before the answer: must not get lost
	res := c.head("GET")
	if res.StatusCode != 101 || !strings.EqualFold(res.Header.Get("Upgrade"), "websocket") || res.Header.Get("Connection") != "Upgrade" {
		t.Fatalf("status %d, header %v", res.StatusCode, res.Header)
	}
	if res.Header.Get("Sec-WebSocket-Accept") != "abc" || res.Header.Get("X-Hop") != "" || res.Header.Get("RateLimit") == "" {
		t.Errorf("header %v", res.Header)
	}
	if id := res.Header["X-Request-Id"]; len(id) != 1 || id[0] == "theirs" {
		t.Errorf("X-Request-ID %q", id)
	}
	for _, line := range []string{"EARLY\n", "HELLO\n", "BYE\n"} {
		if line != "EARLY\n" {
			c.send("%s", strings.ToLower(line))
		}
		if got, err := c.r.ReadString('\n'); err != nil || got != line {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if _, err := c.r.ReadByte(); err != io.EOF {
		t.Errorf("after the program's end: %v", err)
	}
	if u := d.record(); u.Status != 101 || u.BytesIn != 16 || u.BytesOut != 16 || u.Error != "" {
		t.Errorf("record %+v", u)
	}
}

func TestWebSocketConsumerLeaves(t *testing.T) {
	gone := make(chan struct{})
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		echoSwitch(conn, r)
		close(gone)
	})
	c := d.upgrade("")
	c.head("GET")
	_ = c.Close()
	within(t, "end at the program", gone)
	if u := d.record(); u.Status != 101 {
		t.Errorf("record %+v", u)
	}
}

func TestIdleWebSocketIsCut(t *testing.T) {
	d := newRawDoor(t, Config{Timeouts: Timeouts{Stream: 50 * time.Millisecond}}, echoSwitch)
	c := d.upgrade("")
	c.head("GET")
	if got, err := io.ReadAll(c.r); err != nil || string(got) != "\x88\x0e\x03\xe9idle_timeout" {
		t.Errorf("the consumer read %q, %v", got, err)
	}
	if u := d.record(); u.Error != wordIdleTimeout {
		t.Errorf("record %+v", u)
	}
}

// A refused handshake reaches the consumer as the program's own answer.
func TestRefusedWebSocket(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-Websocket-Key") != "x" {
			t.Errorf("header %v", r.Header)
		}
		http.Error(w, "no", 403)
	})
	c := d.upgrade("")
	if got := c.answer("GET"); got.StatusCode != 403 || got.text != "no\n" {
		t.Errorf("status %d, body %q", got.StatusCode, got.text)
	}
}

// TestUpgradeRequired: a 426 names the protocols that it asks for, to whom may ask for one. What else a program says there stays behind,
// and the connection goes on as after any other answer.
func TestUpgradeRequired(t *testing.T) {
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		for {
			head, err := readHead(r)
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 "+strings.Join(fieldsOf(head, "X-Answer"), "\r\n")+"\r\nContent-Length: 2\r\n\r\nno")
		}
	})
	const get, answer = "GET /run/public/ HTTP/1.1\r\nHost: h\r\n", "X-Answer: 426 Own Words\r\nX-Answer: "
	const asks = "Connection: upgrade\r\nUpgrade: websocket\r\n"
	for _, c := range []struct {
		request             string
		connection, upgrade string
	}{
		{get + answer + "Upgrade: websocket", "upgrade", "websocket"},
		{get + answer + "upgrade: WebSocket\r\nX-Answer: connection: Upgrade, X-Hop\r\nX-Answer: X-Hop: 1", "upgrade", "WebSocket"},
		{get + answer + "Upgrade: HTTP/3.0,, a\r\nX-Answer: Upgrade: b/1", "upgrade", "HTTP/3.0, a, b/1"},
		{get + answer + "Upgrade: websocket\r\nX-Answer: Connection: close", "upgrade", "websocket"}, // the program's own connection
		{get + "Connection: close\r\n" + answer + "Upgrade: websocket", "close, upgrade", "websocket"},
		{get + asks + answer + "Upgrade: websocket", "close, upgrade", "websocket"},
		{"HEAD /run/public/ HTTP/1.1\r\nHost: h\r\n" + answer + "Upgrade: websocket", "upgrade", "websocket"},
		{"GET /run/public/ HTTP/1.0\r\n" + answer + "Upgrade: websocket", "", ""},
		{"GET /run/public/ HTTP/1.0\r\nConnection: keep-alive\r\n" + answer + "Upgrade: websocket", "keep-alive", ""},
		{get + answer + "X: 1", "", ""},
		{get + answer + "Connection: Upgrade", "", ""},
		{get + answer + "Upgrade: ,", "", ""},
		{get + answer + "Upgrade: websocket, a b", "", ""},
		{get + answer + "Upgrade: websocket\r\nX-Answer: Upgrade: a;b", "", ""},
		{get + answer + "Upgrade: /1", "", ""},
		{get + answer + "Upgrade: a/", "", ""},
		{get + answer + "Upgrade: a/1/2", "", ""},
		{get + "X-Answer: 400 Bad\r\nX-Answer: Upgrade: websocket", "", ""},
		{get + asks + "X-Answer: 403 No\r\nX-Answer: Upgrade: websocket\r\nX-Answer: Connection: Upgrade", "close", ""},
	} {
		conn := d.dial()
		conn.send("%s\r\n\r\n", c.request)
		head, err := readHead(conn.r)
		text := "no"
		if body := []byte("??"); err == nil && !strings.HasPrefix(c.request, "HEAD") {
			_, err = io.ReadFull(conn.r, body)
			text = string(body)
		}
		connection, upgrade := strings.Join(fieldsOf(head, "Connection"), " | "), strings.Join(fieldsOf(head, "Upgrade"), " | ")
		if err != nil || text != "no" || connection != c.connection || upgrade != c.upgrade || strings.Contains(head, "X-Hop") {
			t.Errorf("%q: %q, %q, %v", c.request, head, text, err)
		}
		if strings.Contains(c.request, "HTTP/1.0") || strings.Contains(connection, "close") {
			continue
		}
		conn.send("%sUpgrade: h2c\r\nX-Answer: 200 OK\r\n\r\n", get)
		if got := conn.answer("GET"); got.StatusCode != 200 || got.text != "no" {
			t.Errorf("%q: the next request was answered with status %d, %q", c.request, got.StatusCode, got.text)
		}
	}
	client := overHTTP2(d.addr, nil)
	defer client.CloseIdleConnections()
	r := d.request("GET", "/run/public/", nil)
	r.Header["X-Answer"] = []string{"426 Own Words", "Upgrade: websocket", "Connection: upgrade"}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != 426 || res.Header["Upgrade"] != nil || res.Header["Connection"] != nil {
		t.Errorf("%s: status %d, %v", res.Proto, res.StatusCode, res.Header)
	}
}

// Only WebSocket is passed on: anything else is an ordinary request to the program.
func TestOtherUpgrades(t *testing.T) {
	d := newRawDoor(t, Config{}, echoSwitch)
	for _, send := range []string{
		"GET /run/private/ HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
		"GET /run/private/ HTTP/1.1\r\nUpgrade: websocket\r\n",
		"GET /run/private/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
		"GET /run/private/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: x\r\n",
		"POST /run/private/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
		"GET /run/private/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n",
	} {
		c := d.dial()
		c.send("%sHost: h\r\nX-API-Key: %s\r\n\r\nx", send, testKey)
		if got := c.answer("GET"); got.StatusCode != 403 {
			t.Errorf("%q: status %d", send, got.StatusCode)
		}
	}
}

func TestDrainCutsWebSockets(t *testing.T) {
	d := newRawDoor(t, Config{}, echoSwitch)
	c := d.upgrade("")
	c.head("GET")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := d.gateway.Drain(ctx); err == nil {
		t.Error("no error although a connection had to be cut")
	}
	if n := d.journal.len(); n != 1 {
		t.Errorf("%d records when Drain had returned", n)
	}
	if u := d.record(); u.Status != 101 || u.Error != wordDraining {
		t.Errorf("record %+v", u)
	}
	if got, err := io.ReadAll(c.r); err != nil || string(got) != "\x88\x0a\x03\xe9draining" {
		t.Errorf("the consumer read %q, %v", got, err)
	}
}
