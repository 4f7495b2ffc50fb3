package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"apibuilder/store"
)

func TestRecordOfARequest(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(201)
		_, _ = io.WriteString(w, "hello")
	})
	begin := time.Now()
	got := d.do(d.request("PUT", "/run/private/a%20b?secret=1", strings.NewReader("body")))
	u := d.record()
	want := store.Usage{
		ID: got.Header.Get("X-Request-ID"), APIID: "api_private", Version: 3, KeyID: "key_1", Time: u.Time, Method: "PUT",
		Path: "/a%20b", Status: 201, BytesIn: 4, BytesOut: 5, Duration: u.Duration, StartWait: 7 * time.Millisecond,
	}
	if u != want {
		t.Errorf("record %+v, want %+v", u, want)
	}
	if u.Time.Before(begin) || u.Duration <= 0 || u.Duration > time.Since(begin) {
		t.Errorf("time %v, duration %v", u.Time, u.Duration)
	}
}

// The consumer cannot have the whole answer before its record is kept.
func TestRecordComesBeforeTheEnd(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/length":
			w.Header().Set("Content-Length", "100000")
		case "/none":
			w.WriteHeader(204)
			return
		}
		_, _ = w.Write(make([]byte, 100000))
	})
	for _, c := range []struct {
		method, target string
	}{
		{"GET", "/run/private/length"},
		{"GET", "/run/private/chunked"},
		{"GET", "/run/private/none"},
		{"HEAD", "/run/private/length"},
		{"GET", "/run/new/"},
	} {
		reached, goOn := make(chan struct{}), make(chan struct{})
		d.journal.mu.Lock()
		d.journal.hook = func(store.Usage) { close(reached); <-goOn }
		d.journal.mu.Unlock()
		whole := make(chan struct{})
		go func() {
			defer close(whole)
			res, err := d.client.Do(d.request(c.method, c.target, nil))
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}()
		within(t, "record", reached)
		select {
		case <-whole:
			t.Errorf("%s %s: the answer was whole before its record was kept", c.method, c.target)
		case <-time.After(20 * time.Millisecond): // a wrong order shows at once; a right one never
		}
		close(goOn)
		within(t, "answer", whole)
	}
}

func TestOneRecordForEachAdmittedRequest(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	limitAPI(d, "api_private", 2)
	for _, want := range []struct {
		status int
		word   string
	}{{200, ""}, {200, ""}, {429, wordRateLimited}, {429, wordRateLimited}} {
		d.get("/run/private/")
		if u := d.record(); u.Status != want.status || u.Error != want.word {
			t.Errorf("record %+v, want %v", u, want)
		}
	}
	for _, target := range []string{"/run/nobody/", "/run/docs/", "/healthz", "/nothing"} {
		d.get(target) // unknown, key of another API, not an API
	}
	if n := d.journal.len(); n != 4 {
		t.Errorf("%d records, want 4", n)
	}
}

func TestBrokenJournal(t *testing.T) {
	core, logs := observer.New(zapcore.ErrorLevel)
	d := newDoor(t, Config{Log: zap.New(core)}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	d.journal.err = errors.New("disk full")
	got := d.get("/run/private/")
	if got.StatusCode != 200 || got.text != "hello" {
		t.Errorf("status %d, body %q", got.StatusCode, got.text)
	}
	d.record()
	lost := logs.FilterMessage("usage record lost").All()
	if len(lost) != 1 {
		t.Fatalf("%d log lines", len(lost))
	}
	if u, ok := lost[0].ContextMap()["record"].(store.Usage); !ok || u.ID != got.Header.Get("X-Request-ID") || u.BytesOut != 5 {
		t.Errorf("the log has %v", lost[0].ContextMap())
	}
}

func TestLimits(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	if got := d.get("/run/private/"); got.Header.Get("RateLimit") != "" || got.Header.Get("RateLimit-Policy") != "" {
		t.Errorf("fields without a limit: %v", got.Header)
	}
	hour := func(n int) store.Rate { return store.Rate{Requests: n, Per: time.Hour} }
	d.store.change(func() store.Change {
		k := d.store.keys[store.HashSecret(testKey)]
		k.Rate = hour(2)
		d.store.keys[k.Hash] = k
		return store.Change{APIID: k.APIID}
	})
	d.store.updateAPI("api_private", func(a *store.API) { a.Rate = hour(10) })
	d.store.change(func() store.Change {
		d.store.plans["default"] = store.Plan{Name: "default", Rate: hour(4)}
		return store.Change{}
	})
	got := d.get("/run/private/")
	if p := got.Header.Get("RateLimit-Policy"); p != `"key";q=2;w=3600, "plan";q=4;w=3600, "api";q=10;w=3600` {
		t.Errorf("RateLimit-Policy %s", p)
	}
	if l := got.Header.Get("RateLimit"); !strings.HasPrefix(l, `"key";r=1;t=`) || strings.Count(l, ";r=") != 3 {
		t.Errorf("RateLimit %s", l)
	}
	d.get("/run/private/")
	got = d.get("/run/private/")
	got.wantProblem(t, 429, wordRateLimited)
	if got.Header.Get("Retry-After") == "" || got.Header.Get("RateLimit") == "" {
		t.Errorf("header %v", got.Header)
	}
	for range 2 { // the same owner's other API, without a key: the plan has two left
		if got := d.get("/run/public/"); got.StatusCode != 200 {
			t.Errorf("status %d", got.StatusCode)
		}
	}
	d.get("/run/public/").wantProblem(t, 429, wordRateLimited)
	docs, _ := http.NewRequest("GET", d.url+"/run/docs/docs", nil)
	d.do(docs).wantProblem(t, 429, wordRateLimited)
	preflight, _ := http.NewRequest("OPTIONS", d.url+"/run/private/", nil)
	preflight.Header = http.Header{"Origin": {"https://x"}, "Access-Control-Request-Method": {"GET"}}
	for range 4 { // without a key: not from what is for who has one
		if got := d.do(preflight); got.StatusCode != 200 {
			t.Errorf("preflight: status %d", got.StatusCode)
		}
	}
	d.do(preflight).wantProblem(t, 429, wordRateLimited)
}

// Strangers cannot have those refused who have a key.
func TestPreflightsHaveRatesOfTheirOwn(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	limitAPI(d, "api_private", 2)
	limitAPI(d, "api_public", 2)
	ask := func(method, target, key string) got {
		r, _ := http.NewRequest(method, d.url+target, nil)
		r.Header = http.Header{"Origin": {"https://x"}, "Access-Control-Request-Method": {"GET"}}
		if key != "" {
			r.Header.Set("X-API-Key", key)
		}
		return d.do(r)
	}
	for range 2 {
		if got := ask("OPTIONS", "/run/private/", ""); got.StatusCode != 200 {
			t.Errorf("preflight: status %d", got.StatusCode)
		}
	}
	ask("OPTIONS", "/run/private/", "").wantProblem(t, 429, wordRateLimited)
	for _, method := range []string{"GET", "OPTIONS"} {
		if got := ask(method, "/run/private/", testKey); got.StatusCode != 200 {
			t.Errorf("%s with a key: status %d", method, got.StatusCode)
		}
	}
	ask("GET", "/run/private/", testKey).wantProblem(t, 429, wordRateLimited)
	for _, method := range []string{"OPTIONS", "GET"} { // where nobody needs one they are requests as others
		if got := ask(method, "/run/public/", ""); got.StatusCode != 200 {
			t.Errorf("%s without a key: status %d", method, got.StatusCode)
		}
	}
	ask("OPTIONS", "/run/public/", "").wantProblem(t, 429, wordRateLimited)
}

func TestLogHasNoSecret(t *testing.T) {
	var text bytes.Buffer
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	log := zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(&text)), zapcore.DebugLevel))
	d := newRawDoor(t, Config{Log: log}, func(conn net.Conn, r *bufio.Reader) {
		_, _ = readHead(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody")
	})
	for _, key := range []string{testKey, unknownK, otherKey} {
		r := d.request("POST", "/run/private/x%0ay?token=hidden", strings.NewReader("payload"))
		r.Header.Set("X-API-Key", key)
		r.Header.Set("Cookie", "session=hidden")
		got := d.do(r)
		if !strings.Contains(text.String(), got.Header.Get("X-Request-ID")) {
			t.Errorf("no line with the request id")
		}
	}
	for _, secret := range []string{"ab_", "hidden", "payload", "body\""} {
		if strings.Contains(text.String(), secret) {
			t.Errorf("the log has %q: %s", secret, text.String())
		}
	}
}

func TestProgramPanicsOfOurs(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	d.journal.hook = nil
	d.sandboxes.transport = nil // a bug of ours: the lease panics
	d.get("/run/private/").wantProblem(t, 500, wordInternal)
	if u := d.record(); u.Status != 500 || u.Error != wordInternal {
		t.Errorf("record %+v", u)
	}
	d.sandboxes.transport = NewTransport(nil)
}
