package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestHealth(t *testing.T) {
	var problem error
	d := newDoor(t, Config{Ready: func(context.Context) error { return problem }}, func(http.ResponseWriter, *http.Request) {})
	for _, target := range []string{"/healthz", "/readyz"} {
		r, _ := http.NewRequest("GET", d.url+target, nil)
		if got := d.do(r); got.StatusCode != 200 || got.Header.Get("X-Request-ID") == "" {
			t.Errorf("%s: status %d, header %v", target, got.StatusCode, got.Header)
		}
		r, _ = http.NewRequest("HEAD", d.url+target, nil)
		if got := d.do(r); got.StatusCode != 200 {
			t.Errorf("HEAD %s: status %d", target, got.StatusCode)
		}
		r, _ = http.NewRequest("POST", d.url+target, strings.NewReader("x"))
		got := d.do(r)
		got.wantProblem(t, 405, wordMethodNotAllowed)
		if got.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("Allow %q", got.Header.Get("Allow"))
		}
	}
	problem = errors.New("secret: sandboxes are not ready")
	got := d.get("/readyz")
	got.wantProblem(t, 503, wordNotReady)
	if strings.Contains(got.text, "secret") {
		t.Errorf("the consumer got %s", got.text)
	}
	if got := d.get("/healthz"); got.StatusCode != 200 {
		t.Errorf("alive, but status %d", got.StatusCode)
	}
	problem = nil
	if got := d.get("/readyz"); got.StatusCode != 200 {
		t.Errorf("status %d", got.StatusCode)
	}
	d.gateway.traffic.close()
	d.get("/readyz").wantProblem(t, 503, wordNotReady)
}

func TestDrainWaits(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	d := newDoor(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-goOn
		_, _ = io.WriteString(w, "done")
	})
	answer := make(chan got, 1)
	go func() { answer <- d.get("/run/private/") }()
	within(t, "request", began)
	drained := make(chan error, 1)
	go func() { drained <- d.gateway.Drain(context.Background()) }()
	for !d.gateway.traffic.draining() {
		select {
		case err := <-drained:
			t.Fatalf("drained with a request going on: %v", err)
		default:
		}
	}
	close(goOn)
	if got := within(t, "answer", answer); got.text != "done" {
		t.Errorf("answer %q", got.text)
	}
	if err := within(t, "drain", drained); err != nil {
		t.Error(err)
	}
	if err := d.gateway.Drain(context.Background()); err != nil {
		t.Errorf("again: %v", err)
	}
	if d.journal.len() != 1 || len(d.store.subs) != 0 {
		t.Errorf("%d records, %d subscriptions", d.journal.len(), len(d.store.subs))
	}
}

func TestDrainCuts(t *testing.T) {
	began := make(chan struct{})
	d := newDoor(t, Config{}, func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
	})
	failed := make(chan error, 1)
	go func() {
		_, err := d.client.Do(d.request("GET", "/run/private/", nil))
		failed <- err
	}()
	within(t, "request", began)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := d.gateway.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if n := d.journal.len(); n != 1 {
		t.Errorf("%d records when Drain had returned", n)
	}
	if err := within(t, "consumer", failed); err == nil {
		t.Error("the consumer got an answer")
	}
	if u := d.record(); u.Error != wordDraining {
		t.Errorf("record %+v", u)
	}
}

func TestServerBounds(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	c := d.dial()
	go func() {
		_, _ = io.WriteString(c.Conn, "GET /run/public/ HTTP/1.1\r\nHost: h\r\nX-A: "+strings.Repeat("a", 1<<20))
	}()
	if got := c.answer("GET"); got.StatusCode != 431 {
		t.Errorf("status %d for an endless header", got.StatusCode)
	}
}

func TestRequestIDs(t *testing.T) {
	early, late := newRequestID(time.UnixMilli(1_700_000_000_000)), newRequestID(time.UnixMilli(1_700_000_000_001))
	if early >= late {
		t.Errorf("%s does not sort before %s", early, late)
	}
	if !strings.HasPrefix(early, "018bcfe5-6800-7") || len(early) != 36 || !strings.Contains("89ab", early[19:20]) {
		t.Errorf("%s is no UUID of version 7 for its time", early)
	}
	seen := map[string]bool{}
	for range 1000 {
		seen[newRequestID(time.UnixMilli(0))] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d different ids of 1000", len(seen))
	}
}

func TestProblemTableIsComplete(t *testing.T) {
	for word, kind := range problems {
		if kind.status < 400 || kind.status > 599 || kind.title == "" || !strings.HasSuffix(kind.detail, ".") && word != wordMissingKey {
			t.Errorf("%s: %+v", word, kind)
		}
	}
}

// The last bytes of an answer wait in net/http, where no watchdog sees a consumer that does not take them.
func TestLastBytesHaveADeadline(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	w := &sink{header: http.Header{}}
	d.gateway.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
	if w.deadline.Before(time.Now()) {
		t.Errorf("deadline %v", w.deadline)
	}
}
