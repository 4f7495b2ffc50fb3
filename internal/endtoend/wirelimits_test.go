package endtoend

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestLimitsOverTheWire goes up to each limit of docs/limits.md and beyond it, with a program in a sandbox that answers or waits.
func TestLimitsOverTheWire(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example", "--max-url", "2K", "--max-header", "4K", "--max-body", "1M", "--max-requests", "6")
	code, packages := sample(t, "stalls/app.py"), sample(t, "stalls/requirements.txt")
	api := &stalling{deployed: s.deploy("limited", code, packages), server: s}
	other := s.deploy("other", code, packages)
	t.Run("heads", api.testHeads)
	t.Run("bodies", api.testBodies)
	t.Run("queue", api.testQueue)
	t.Run("who leaves the queue", api.testLeavingQueue)
	t.Run("one key", api.testKeyAtOnce)
	t.Run("in all", func(t *testing.T) { api.testAll(t, other) })
}

// wantAnswer sends a request on a connection of its own; without a word it is served.
func (a *stalling) wantAnswer(t *testing.T, what, request string, status int, word string) *http.Response {
	t.Helper()
	w := a.dial(t)
	go func() { _, _ = io.WriteString(w.Conn, request) }() // it need not be read to its end
	res := w.head("POST")
	if res.StatusCode != status {
		t.Errorf("%s: status %d, want %d", what, res.StatusCode, status)
	}
	if word != "" {
		wantProblem(t, res, word)
		return res
	}
	if text, err := io.ReadAll(res.Body); err != nil || string(text) != "well" {
		t.Errorf("%s: %q, %v", what, text, err)
	}
	return res
}

// testHeads has addresses and heads that just fit, and such that have a byte more: of the server's limits, then of tighter ones.
func (a *stalling) testHeads(t *testing.T) {
	ask := func(target, head int, key string) string {
		line := "POST " + a.path(t) + "/read?"
		line += strings.Repeat("x", len("POST ")+target-len(line)) + " HTTP/1.1\r\n"
		fields := "Host: h\r\nContent-Length: 0\r\n" + key
		pad := head - len(line+fields+"X: \r\n\r\n")
		return line + fields + "X: " + strings.Repeat("x", max(pad, 0)) + "\r\n\r\n"
	}
	key := "X-API-Key: " + a.Key + "\r\n"
	a.wantAnswer(t, "the longest address", ask(2<<10, 0, key), 200, "")
	a.wantAnswer(t, "a longer one", ask(2<<10+1, 0, key), 414, "url_too_long")
	a.wantAnswer(t, "the largest head", ask(100, 4<<10, key), 200, "")
	a.wantAnswer(t, "a larger one", ask(100, 4<<10+1, key), 431, "header_too_large")
	a.set("max-url", "200")
	a.set("max-header", "400")
	a.wantAnswer(t, "the API's longest address", ask(200, 0, key), 200, "")
	a.wantAnswer(t, "a longer one", ask(201, 0, key), 414, "url_too_long")
	a.wantAnswer(t, "the API's largest head", ask(100, 400, key), 200, "")
	a.wantAnswer(t, "a larger one", ask(100, 401, key), 431, "header_too_large")
	a.wantAnswer(t, "a stranger's", ask(201, 401, ""), 401, "missing_key")
	a.set("max-url", "")
	a.set("max-header", "")
}

// testBodies has bodies that just fit, and such that have a byte more, of known length and not.
func (a *stalling) testBodies(t *testing.T) {
	ask := func(name, rest string) string {
		return "POST " + a.path(t) + "/read?" + name + " HTTP/1.1\r\nHost: h\r\nX-API-Key: " + a.Key + "\r\n" + rest
	}
	sized := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", n, strings.Repeat("x", n)) }
	chunked := func(n int) string {
		return fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n1\r\nx\r\n0\r\n\r\n", n-1, strings.Repeat("x", n-1))
	}
	for i, limit := range []struct {
		option string
		most   int
	}{{"2M", 1 << 20}, {"1K", 1 << 10}, {"", 1 << 20}} { // the tighter one of the server's and the API's
		a.set("max-body", limit.option)
		name := fmt.Sprint("body-", i)
		a.wantAnswer(t, "the largest body", ask("", sized(limit.most)), 200, "")
		a.wantAnswer(t, "the largest body in chunks", ask("", chunked(limit.most)), 200, "")
		a.wantAnswer(t, "a larger one", ask("", sized(limit.most+1)), 413, "body_too_large")
		a.wantAnswer(t, "a larger one, not asked for", ask("", "Expect: 100-continue\r\n"+sized(limit.most+1)), 413, "body_too_large")
		a.wantAnswer(t, "a larger one in chunks", ask(name, chunked(limit.most+1)), 413, "body_too_large")
		a.wantTold(t, name)
	}
}

// holdStream begins an answer that lasts until its consumer leaves.
func (a *stalling) holdStream(t *testing.T) *wire {
	t.Helper()
	w := a.dial(t)
	w.request("GET", "/begun", "\r\n")
	if res := w.head("GET"); res.StatusCode != 200 {
		t.Fatalf("a request that is to last: status %d", res.StatusCode)
	}
	return w
}

// fillQueue asks twice where one more may wait: the one is refused, and the other waits, which nobody tells.
func (a *stalling) fillQueue(t *testing.T) (waits *wire) {
	t.Helper()
	both := [2]*wire{a.dial(t), a.dial(t)}
	for _, w := range both {
		w.request("GET", "/read", "\r\n")
	}
	var refused *wire
	eventually(t, "a refusal", func() bool {
		for i, w := range both {
			_ = w.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_, err := w.r.Peek(1)
			_ = w.SetReadDeadline(time.Now().Add(30 * time.Second))
			if err == nil {
				refused, waits = w, both[1-i]
				return true
			}
		}
		return false
	})
	res := refused.head("GET")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: status %d, %v", res.StatusCode, res.Header)
	}
	wantProblem(t, res, "queue_full")
	return waits
}

// testQueue has a WebSocket take the one place, and a request wait until it ends.
func (a *stalling) testQueue(t *testing.T) {
	a.set("max-requests", "1")
	a.set("queue", "1")
	socket := a.dial(t)
	socket.request("GET", "/ws", askWebSocket+"\r\n")
	if res := socket.head("GET"); res.StatusCode != 101 {
		t.Fatalf("status %d", res.StatusCode)
	}
	waits := a.fillQueue(t)
	_ = socket.Close()
	if res, text := waits.answer("GET"); res.StatusCode != 200 || text != "well" {
		t.Errorf("the one that waited: status %d, %s", res.StatusCode, text)
	}
}

// testLeavingQueue has the one that waits leave, so that another can wait, but not for longer than it may.
func (a *stalling) testLeavingQueue(t *testing.T) {
	a.set("queue-timeout", "1h")
	stream := a.holdStream(t)
	waits := a.fillQueue(t)
	a.set("queue-timeout", "300ms")
	_ = waits.Close()
	eventually(t, "a place to wait", func() bool {
		res, text := a.ask(t, "GET", "/read", "\r\n")
		word := answer{body: []byte(text)}.problem()
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || word != "queue_timeout" && word != "queue_full" {
			t.Fatalf("status %d, %v, %s", res.StatusCode, res.Header, text)
		}
		return word == "queue_timeout"
	})
	_ = stream.Close()
	for _, option := range []string{"max-requests", "queue", "queue-timeout"} {
		a.set(option, "")
	}
}

// testKeyAtOnce has one key use all that it may, and another one none the less.
func (a *stalling) testKeyAtOnce(t *testing.T) {
	a.set("max-requests-per-key", "1")
	var another struct{ Secret string }
	if err := json.Unmarshal([]byte(a.server.must("keys", "create", "--api", a.Name, "--json")), &another); err != nil {
		t.Fatal(err)
	}
	stream := a.holdStream(t)
	res, text := a.ask(t, "GET", "/read", "\r\n")
	if res.StatusCode != 429 || res.Header.Get("Retry-After") == "" || (answer{body: []byte(text)}).problem() != "too_many_at_once" {
		t.Errorf("the same key: status %d, %v, %s", res.StatusCode, res.Header, text)
	}
	if got := call(t, "GET", a.URL+"/read", another.Secret, nil); got.status != 200 {
		t.Errorf("another key: status %d, %s", got.status, got.body)
	}
	_ = stream.Close()
	eventually(t, "a place for the key", func() bool {
		res, _ := a.ask(t, "GET", "/read", "\r\n")
		return res.StatusCode == 200
	})
	a.set("max-requests-per-key", "")
}

// testAll has an API get half of the places, and leave the other half to another API.
func (a *stalling) testAll(t *testing.T, other deployed) {
	streams := []*wire{a.holdStream(t), a.holdStream(t), a.holdStream(t)}
	res, text := a.ask(t, "GET", "/read", "\r\n")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || (answer{body: []byte(text)}).problem() != "overloaded" {
		t.Errorf("the fourth of six: status %d, %v, %s", res.StatusCode, res.Header, text)
	}
	if res, text := other.ask(t, "GET", "/read", "\r\n"); res.StatusCode != 200 || text != "well" {
		t.Errorf("the other API: status %d, %s", res.StatusCode, text)
	}
	_ = streams[0].Close()
	eventually(t, "a place in all", func() bool {
		res, _ := a.ask(t, "GET", "/read", "\r\n")
		return res.StatusCode == 200
	})
}
