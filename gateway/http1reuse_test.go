package gateway

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"apibuilder/store"
)

// full is a request with all that one can have, for a program that answers with all that it can.
const full = "GET /run/private/full/items?q=secret HTTP/1.1\r\nHost: full.example:81\r\nX-API-Key: " + testKey + "\r\nOrigin: https://page.example\r\n" +
	"Cookie: session=secret\r\nAuthorization: Basic c2VjcmV0\r\nX-Left: one\r\nConnection: keep-alive\r\nAccept-Language: de\r\n\r\n"

// leftProgram answers small and full requests, and tells of the header that it got.
func leftProgram(seen chan<- http.Header) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := maps.Clone(r.Header)
		h["Host"], h["Target"] = []string{r.Host}, []string{r.RequestURI}
		seen <- h
		if !strings.HasPrefix(r.RequestURI, "/full") {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		for name, value := range map[string]string{
			"X-Left": "answer", "Set-Cookie": "left=1", "Content-Type": "text/html", useField: "1500 /full/{left}", "Retry-After": "7",
			"Www-Authenticate": "Basic realm=left", "Access-Control-Allow-Origin": "*",
		} {
			w.Header().Set(name, value)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, strings.Repeat("left", 100))
	}
}

// TestNothingIsLeftOfARequest asks for little before and after requests that have much, on one connection, whose memory the next request gets.
func TestNothingIsLeftOfARequest(t *testing.T) {
	seen := make(chan http.Header, 1)
	d := newDoor(t, Config{}, leftProgram(seen))
	d.store.updateAPI("api_private", func(a *store.API) { a.Rate = store.Rate{Requests: 1000, Per: time.Hour} })
	type all struct{ header, answer, record string }
	ask := func(c *raw, request string) all {
		t.Helper()
		c.send("%s", request)
		got := c.answer("GET")
		header, record := within(t, "the request", seen), d.record()
		delete(header, "X-Request-Id")
		got.Header.Del("X-Request-Id")
		got.Header.Del("Date")
		record.ID, record.Time, record.Duration = "", time.Time{}, 0
		return all{fmt.Sprint(header), fmt.Sprint(got.StatusCode, got.Header, got.text), fmt.Sprintf("%+v", record)}
	}
	const little = "GET /run/public/little HTTP/1.1\r\nHost: h\r\n\r\n"
	want := ask(d.dial(), little)
	if !strings.Contains(want.record, "api_public") {
		t.Fatal(want)
	}
	c := d.dial()
	for range 10 {
		much := ask(c, full)
		for name, text := range map[string]string{"X-Left:[one]": much.header, "left=1": much.answer, "/full/{left}": much.record, "CPU:1.5ms": much.record} {
			if !strings.Contains(text, name) {
				t.Fatalf("%s is not in %s", name, text)
			}
		}
		if got := ask(c, little); got != want {
			t.Fatalf("after a full request\n%v\nin place of\n%v", got, want)
		}
	}
}

// TestRequestsOfManyKindsAtOnce has every answer be that to its request, whatever was before it in the same memory: bodies, errors, answers
// that break off, programs that close, consumers that leave.
func TestRequestsOfManyKindsAtOnce(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case strings.Contains(r.RequestURI, "/close/"):
			w.Header().Set("Connection", "close")
		case strings.Contains(r.RequestURI, "/break/"):
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "some")
			panic(http.ErrAbortHandler)
		case strings.Contains(r.RequestURI, "/stream/"):
			_, _ = io.WriteString(w, "a piece of ")
			_ = http.NewResponseController(w).Flush()
		case strings.Contains(r.RequestURI, "/slow/"):
			time.Sleep(2 * lookAfter)
		}
		_, _ = fmt.Fprintf(w, "%s %s %s %s", r.Method, r.RequestURI, r.Header.Get("X-Mark"), body)
	})
	kinds := []string{"plain", "body", "chunked", "close", "break", "stream", "slow", "head", "unknown", "own", "leave", "late"}
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			c := d.dial()
			for i := range 60 {
				kind := kinds[(i*5+worker*7+i*i)%len(kinds)]
				mark := fmt.Sprintf("%d-%d", worker, i)
				if !askOne(t, c, kind, mark) {
					_ = c.Close()
					c = d.dial()
				}
			}
		})
	}
	group.Wait()
}

// askOne sends a request of a kind and looks at its answer; false when its connection is over.
func askOne(t *testing.T, c *raw, kind, mark string) bool {
	method, target, fields, body := "GET", "/"+kind+"/"+mark, "X-Mark: "+mark+"\r\n", ""
	switch kind {
	case "body":
		method, body = "POST", "sized "+mark
		fields += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	case "chunked":
		method, body = "POST", "in chunks "+mark
		fields += "Transfer-Encoding: chunked\r\n"
	case "head":
		method = "HEAD"
	}
	path := "/run/public" + target
	switch kind {
	case "unknown":
		path = "/run/nobody/" + mark
	case "own":
		path = "/healthz"
	}
	sent := body
	if kind == "chunked" {
		sent = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: h\r\n%s\r\n", method, path, fields)
	if kind == "late" {
		c.send("%s", head[:20])
		time.Sleep(time.Millisecond)
		head = head[20:]
	}
	c.send("%s%s", head, sent)
	if kind == "leave" {
		return false
	}
	res, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if kind == "break" && err != nil {
		return false
	}
	if err != nil {
		t.Errorf("%s %s: %v", kind, mark, err)
		return false
	}
	text, err := io.ReadAll(res.Body)
	want := fmt.Sprintf("%s %s %s %s", method, target, mark, body)
	switch kind {
	case "break":
		return false
	case "stream":
		want = "a piece of " + want
	case "head":
		want = ""
	case "own":
		want = "ok\n"
	case "unknown":
		if res.StatusCode != 404 || err != nil {
			t.Errorf("%s: status %d, %v", mark, res.StatusCode, err)
		}
		return err == nil
	}
	if err != nil || res.StatusCode != 200 || string(text) != want {
		t.Errorf("%s %s: status %d, %q, %v; want %q", kind, mark, res.StatusCode, text, err, want)
	}
	return err == nil && !res.Close
}

// TestMemoryThatSomebodyHasIsNotUsedAgain: a request whose context somebody watches, whose body somebody may read, or whose exchange did not
// end well leaves its memory to the collector.
func TestMemoryThatSomebodyHasIsNotUsedAgain(t *testing.T) {
	c := &http1{ctx: context.Background()}
	for name, use := range map[string]func(w *http1Response){
		"watched":     func(w *http1Response) { w.life.Done() },
		"derived":     func(w *http1Response) { _, cancel := context.WithCancel(&w.life); cancel() },
		"told":        func(w *http1Response) { w.life.tell(&lifetime{}) },
		"a body":      func(w *http1Response) { w.body.r = strings.NewReader("") },
		"an exchange": func(w *http1Response) { w.exchange.gateway = &Gateway{} },
		"traced":      func(w *http1Response) { w.answer.trace.ctx = context.Background() },
	} {
		w := newHTTP1Response(c)
		use(w)
		if w.free(); w.c == nil {
			t.Errorf("%s: used again", name)
		}
	}
	w := newHTTP1Response(c)
	w.exchange.gateway, w.exchange.over = &Gateway{}, true
	if w.free(); w.c != nil || w.exchange.gateway != nil {
		t.Error("what is over is not used again")
	}
}

// TestAnExchangeThatIsOver finds out by the requests' own ends whether anything of them may be in use.
func TestAnExchangeThatIsOver(t *testing.T) {
	for name, c := range map[string]struct {
		request string
		program func(w http.ResponseWriter)
		want    bool
	}{
		"small":              {"GET", func(w http.ResponseWriter) { _, _ = io.WriteString(w, "small") }, true},
		"no body":            {"GET", func(w http.ResponseWriter) { w.WriteHeader(204) }, true},
		"with a body":        {"POST", func(http.ResponseWriter) {}, false},
		"a connection's end": {"GET", func(w http.ResponseWriter) { w.Header().Set("Connection", "close") }, false},
		"broken off":         {"GET", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, false},
	} {
		d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			c.program(w)
		})
		if res, err := d.client.Get(d.url + "/run/public/"); err == nil { // for a connection to the program, which somebody waits for
			_ = res.Body.Close()
		}
		over := make(chan bool, 1)
		l, _, end := serveHTTP1(func(w http.ResponseWriter, r *http.Request) {
			d.gateway.ServeHTTP(w, r)
			over <- w.(*http1Response).exchange.over
		})
		conn := l.dial()
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		_, _ = fmt.Fprintf(conn, "%s /run/public/ HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", c.request, len(c.request)-3, c.request[3:])
		if got := within(t, name, over); got != c.want {
			t.Errorf("%s: over is %v", name, got)
		}
		_ = conn.Close()
		end()
	}
}
