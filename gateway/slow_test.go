package gateway

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"apibuilder/store"
)

func TestRequestTimeout(t *testing.T) {
	cancelled := make(chan struct{})
	d := newDoor(t, Config{Timeouts: Timeouts{FirstByte: 50 * time.Millisecond}}, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		cancelled <- struct{}{}
	})
	for _, body := range []string{"", "body"} {
		d.do(d.request("POST", "/run/private/", strings.NewReader(body))).wantProblem(t, 504, wordRequestTimeout)
		within(t, "cancel", cancelled)
	}
	if d.sandboxes.suspect != 2 {
		t.Errorf("suspected %d times", d.sandboxes.suspect)
	}
	if u := d.record(); u.Status != 504 || u.Error != wordRequestTimeout {
		t.Errorf("record %+v", u)
	}
}

// A program that does not read the body is too slow; a consumer that does not send it is slow itself.
func TestWhoIsSlow(t *testing.T) {
	release := make(chan struct{})
	d := newDoor(t, Config{Timeouts: Timeouts{FirstByte: 100 * time.Millisecond, Upload: 100 * time.Millisecond}}, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/read" {
			_, _ = io.Copy(io.Discard, r.Body)
			return
		}
		<-release
	})
	defer close(release)
	c := d.dial()
	c.send("POST /run/private/read HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nContent-Length: 10\r\n\r\nhalf", testKey)
	got := c.answer("POST")
	got.wantProblem(t, 408, wordBodyTimeout)
	if !got.Close || d.sandboxes.suspect != 0 {
		t.Errorf("close %v, suspected %d times", got.Close, d.sandboxes.suspect)
	}
	c = d.dial()
	c.send("POST /run/private/ignore HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nContent-Length: 1000000000\r\n\r\n", testKey)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.Copy(c.Conn, &pattern{left: 1_000_000_000})
	}()
	c.answer("POST").wantProblem(t, 504, wordRequestTimeout)
	_ = c.Close()
	<-sent
	if d.sandboxes.suspect != 1 {
		t.Errorf("suspected %d times", d.sandboxes.suspect)
	}
}

// Each piece of an upload gives the program its time again: a slow line is no timeout.
func TestSlowUploadIsNoTimeout(t *testing.T) {
	arrived := make(chan struct{})
	d := newDoor(t, Config{Timeouts: Timeouts{FirstByte: 300 * time.Millisecond}}, func(_ http.ResponseWriter, r *http.Request) {
		for {
			if _, err := r.Body.Read(make([]byte, 1)); err != nil {
				return
			}
			arrived <- struct{}{}
		}
	})
	c := d.dial()
	c.send("POST /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nTransfer-Encoding: chunked\r\n\r\n", testKey)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 8 { // longer than the timeout
		<-tick.C
		c.send("1\r\nx\r\n")
		within(t, "piece", arrived)
	}
	c.send("0\r\n\r\n")
	if got := c.answer("POST"); got.StatusCode != 200 {
		t.Fatalf("status %d: %s", got.StatusCode, got.text)
	}
}

func TestIdleAnswerIsCut(t *testing.T) {
	d := newDoor(t, Config{Timeouts: Timeouts{Stream: 50 * time.Millisecond}}, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	res, err := d.client.Do(d.request("GET", "/run/private/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the answer looks whole")
	}
	if u := d.record(); u.Status != 200 || u.Error != wordIdleTimeout {
		t.Errorf("record %+v", u)
	}
}

// A consumer that does not read holds its sandbox for the idle time, not longer.
func TestConsumerThatDoesNotRead(t *testing.T) {
	d := newDoor(t, Config{Timeouts: Timeouts{Stream: 100 * time.Millisecond}}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, &pattern{left: 1 << 30})
	})
	c := d.dial()
	c.send("GET /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\n\r\n", testKey)
	if u := d.record(); u.Error != wordIdleTimeout {
		t.Errorf("record %+v", u)
	}
}

func TestConsumerGone(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	d := newDoor(t, Config{}, func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(ended)
	})
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		_, err := d.client.Do(d.request("GET", "/run/private/", nil).WithContext(ctx))
		result <- err
	}()
	within(t, "request", began)
	cancel()
	within(t, "cancel", result)
	within(t, "the program saw it", ended)
	if u := d.record(); u.Status != 499 || u.Error != wordClientGone {
		t.Errorf("record %+v", u)
	}
	if d.sandboxes.asked != 0 || d.sandboxes.suspect != 0 {
		t.Error("the sandbox was blamed")
	}
}

// TestRequestTimeoutOfAnAPI shows that an API's own timeout goes before the server's.
func TestRequestTimeoutOfAnAPI(t *testing.T) {
	d := newDoor(t, Config{Timeouts: Timeouts{FirstByte: time.Hour}}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	d.store.updateAPI("api_private", func(a *store.API) { a.Options.RequestTimeout = 50 * time.Millisecond })
	d.get("/run/private/").wantProblem(t, 504, wordRequestTimeout)
}
