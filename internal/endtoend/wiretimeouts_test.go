package endtoend

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"
)

// stall is a request that gets no further, and what becomes of it.
type stall struct {
	option  string // of the API: it ends the request
	request string
	rest    string // fields and body
	status  int    // 200 and 101 are broken off
	word    string // of the answer, and of the record
}

var stalls = []stall{
	{"request-timeout", "GET /silent", "\r\n", 504, "request_timeout"},
	{"request-timeout", "POST /silent", "Content-Length: 3\r\n\r\nabc", 504, "request_timeout"},
	{"upload-timeout", "POST /read", "Content-Length: 9\r\n\r\nabc", 408, "body_timeout"},
	{"upload-timeout", "POST /read", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 408, "body_timeout"},
	{"stream-timeout", "GET /header", "\r\n", 504, "idle_timeout"},
	{"stream-timeout", "GET /half", "\r\n", 200, "idle_timeout"},
	{"stream-timeout", "GET /begun", "\r\n", 200, "idle_timeout"},
	{"stream-timeout", "GET /ws", askWebSocket + "\r\n", 101, "idle_timeout"},
	{"total-timeout", "GET /silent", "\r\n", 504, "total_timeout"},
	{"total-timeout", "POST /read", "Content-Length: 9\r\n\r\nabc", 504, "total_timeout"},
	{"total-timeout", "GET /flow", "\r\n", 200, "total_timeout"},
	{"total-timeout", "GET /ws", askWebSocket + "\r\n", 101, "total_timeout"},
}

// stalling is an API whose requests stall, with how each must be recorded to have ended.
type stalling struct {
	deployed
	server *server
	words  map[string]string // by request id
}

// TestTimeoutsOverTheWire has a program in a sandbox, or its consumer, stop wherever one can. Each request ends after the time that an
// option of the API or the server sets, as docs/limits.md says; the program is told, and serves on.
func TestTimeoutsOverTheWire(t *testing.T) {
	dir := dataDir(t)
	s := serve(t, dir, "--no-example", "--connect-timeout", "1h", "--drain-timeout", "1h") // so that those of the API count
	code, packages := sample(t, "stalls/app.py"), sample(t, "stalls/requirements.txt")
	api := &stalling{s.deploy("stalls", code, packages), s, map[string]string{}}
	ending := &stalling{s.deploy("ending", code, packages), s, map[string]string{}}
	fixed := api.beginFixed(t)
	t.Run("meanwhile", func(t *testing.T) {
		t.Run("a program that lives", func(t *testing.T) {
			t.Parallel()
			for _, option := range []string{"request-timeout", "upload-timeout", "stream-timeout", "total-timeout"} {
				t.Run(option, func(t *testing.T) { api.testOption(t, option) })
			}
			t.Run("a consumer that does not read", api.testUnread)
			t.Run("HTTP/2", api.testHTTP2)
		})
		t.Run("a program that ends", func(t *testing.T) {
			t.Parallel()
			t.Run("connect-timeout", ending.testConnect)
			t.Run("drain-timeout", ending.testDrain)
		})
	})
	t.Run("fixed times", fixed.test)
	s.stop()
	ending.server = serve(t, dir, "--no-example", "--drain-timeout", "1s")
	ending.URL = ending.server.url + "/run/" + ending.ID
	t.Run("the server's end", ending.testEnd)
	last := serve(t, dir, "--no-example")
	for _, a := range []*stalling{api, ending} {
		a.server = last
		t.Run("records of "+a.Name, a.testRecords)
	}
}

// set gives an option a value, or with none its default.
func (a *stalling) set(option, value string) {
	a.server.must("apis", "update", a.Name, "--set", option+"="+value)
}

// wantTold asks, with the server's own times, whether the program was told that the consumer of a request is gone.
func (a *stalling) wantTold(t *testing.T, name string) {
	t.Helper()
	if res, text := a.ask(t, "GET", "/gone?"+name, "\r\n"); res.StatusCode != 200 || text != "well" {
		t.Errorf("%s: the program was not told: status %d, %s", name, res.StatusCode, text)
	}
}

// wantRecord is looked at by testRecords.
func (a *stalling) wantRecord(res *http.Response, word string) {
	a.words[res.Header.Get("X-Request-Id")] = word
}

// testOption has all of an option's requests stall at the same time.
func (a *stalling) testOption(t *testing.T, option string) {
	const limit = time.Second
	a.set(option, limit.String())
	began := time.Now()
	begun := map[string]*wire{}
	for i, c := range stalls {
		if c.option == option {
			name, w := fmt.Sprint("stall-", i), a.dial(t)
			method, target, _ := strings.Cut(c.request, " ")
			w.request(method, target+"?"+name, c.rest)
			begun[name] = w
		}
	}
	for i, c := range stalls {
		if w := begun[fmt.Sprint("stall-", i)]; w != nil {
			a.wantEnd(t, w, c)
		}
	}
	if took := time.Since(began); took < limit {
		t.Errorf("all ended after %v", took)
	}
	a.set(option, "")
	for name := range begun {
		a.wantTold(t, name)
	}
}

func (a *stalling) wantEnd(t *testing.T, w *wire, c stall) {
	t.Helper()
	method, _, _ := strings.Cut(c.request, " ")
	res := w.head(method)
	if res.StatusCode != c.status {
		t.Errorf("%s: status %d, want %d", c.request, res.StatusCode, c.status)
	}
	a.wantRecord(res, c.word)
	switch res.StatusCode {
	case http.StatusSwitchingProtocols:
		w.wantClose(1001, c.word)
	case http.StatusOK:
		if text, err := io.ReadAll(res.Body); err == nil || len(text) == 0 {
			t.Errorf("%s: %q passed for a whole answer, or nothing came of it", c.request, text)
		}
	default:
		wantProblem(t, res, c.word)
	}
}

// wantClose reads a WebSocket's close frame (RFC 6455, 5.5.1) and the end of the connection.
func (w *wire) wantClose(code uint16, reason string) {
	w.t.Helper()
	w.want(string([]byte{0x88, byte(2 + len(reason)), byte(code >> 8), byte(code)}) + reason)
	if _, err := w.r.ReadByte(); err != io.EOF {
		w.t.Errorf("behind a close frame: %v", err)
	}
}

func wantProblem(t *testing.T, res *http.Response, word string) {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	got := answer{body: body}.problem()
	if err != nil || got != word || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("status %d, %v, type %q, %v; want %q", res.StatusCode, res.Header, got, err, word)
	}
}

// testUnread has a consumer read the head of an answer and no more of it.
func (a *stalling) testUnread(t *testing.T) {
	a.set("stream-timeout", "300ms")
	w := a.dial(t)
	w.request("GET", "/flood?unread", "\r\n")
	res := w.head("GET")
	a.wantRecord(res, "idle_timeout")
	a.set("stream-timeout", "")
	a.wantTold(t, "unread")
	if _, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Error("what was left of it passed for a whole answer")
	}
}

// testHTTP2 has a stream broken off, and the next one on the same connection answered.
func (a *stalling) testHTTP2(t *testing.T) {
	a.set("stream-timeout", "300ms")
	client, fresh := overHTTP2(t), 0
	client.Timeout = 30 * time.Second
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		if !c.Reused {
			fresh++
		}
	}})
	get := func(target string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, "GET", a.URL+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-API-Key", a.Key)
		res, err := client.Do(r)
		if err != nil || res.ProtoMajor != 2 {
			t.Fatalf("%s: %v, %v", target, res, err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	res := get("/begun?stream")
	a.wantRecord(res, "idle_timeout")
	if text, err := io.ReadAll(res.Body); err == nil || string(text) != "ab" {
		t.Errorf("%q, %v", text, err)
	}
	a.set("stream-timeout", "")
	if res := get("/gone?stream"); res.StatusCode != 200 || fresh != 1 {
		t.Errorf("the next stream: status %d, after %d connections", res.StatusCode, fresh)
	}
}

// testRecords waits for the records of all requests: they are kept by and by.
func (a *stalling) testRecords(t *testing.T) {
	got := map[string]string{}
	eventually(t, "a record of each request", func() bool {
		var usage struct {
			Records []struct{ ID, Error string }
		}
		if err := json.Unmarshal([]byte(a.server.must("usage", "--json", "--api", a.Name, "--limit", "1000")), &usage); err != nil {
			t.Fatal(err)
		}
		for _, r := range usage.Records {
			got[r.ID] = r.Error
		}
		for id := range a.words {
			if _, there := got[id]; !there {
				return false
			}
		}
		return true
	})
	for id, want := range a.words {
		if got[id] != want {
			t.Errorf("the record of %s says %q, want %q", id, got[id], want)
		}
	}
}
