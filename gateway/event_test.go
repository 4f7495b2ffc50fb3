package gateway

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// events remembers what it is told.
type events struct {
	mu  sync.Mutex
	all []Event
}

func (e *events) tell(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

func (e *events) take() []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.all
	e.all = nil
	return all
}

func TestLimitsAndTimeoutsAreTold(t *testing.T) {
	var told events
	d := newDoor(t, Config{Tell: told.tell, Limits: Limits{BodyBytes: 10}, Timeouts: Timeouts{FirstByte: 200 * time.Millisecond}},
		func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/slow") {
				<-r.Context().Done()
			}
			_, _ = io.Copy(io.Discard, r.Body)
		})
	wants := func(word string, status int, method, path string, answer got) {
		t.Helper()
		all := told.take()
		if len(all) != 1 {
			t.Fatalf("%s: told %+v", word, all)
		}
		e := all[0]
		if e.Word != word || e.Status != status || e.API != "api_private" || e.Method != method || e.Path != path || e.RequestID != answer.Header.Get("X-Request-Id") {
			t.Errorf("%+v, want %s", e, word)
		}
	}
	if d.get("/run/private/"); len(told.take()) > 0 {
		t.Error("an ordinary answer is told of")
	}
	upload := d.do(d.request("POST", "/run/private/up?secret=x", strings.NewReader("more than ten bytes")))
	wants(wordBodyTooLarge, 413, "POST", "/up", upload)
	wants(wordRequestTimeout, 504, "GET", "/slow", d.get("/run/private/slow"))
	stranger := d.request("GET", "/run/private/", nil)
	stranger.Header.Set("X-API-Key", unknownK)
	if e := d.do(stranger); e.StatusCode != 401 || len(told.take()) > 0 {
		t.Error("who has no key fills the owner's log")
	}
	limitAPI(d, "api_private", 1)
	d.get("/run/private/")
	told.take()
	wants(wordRateLimited, 429, "GET", "/", d.get("/run/private/"))
}
