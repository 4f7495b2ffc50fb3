package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"apibuilder/store"
)

func limitAPI(d *door, id string, perHour int) {
	d.store.updateAPI(id, func(a *store.API) { a.Rate = store.Rate{Requests: perHour, Per: time.Hour} })
}

func TestEventsArriveAtOnce(t *testing.T) {
	next := make(chan string)
	d := newDoor(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		for event := range next {
			_, _ = io.WriteString(w, event)
			_ = http.NewResponseController(w).Flush()
		}
	})
	res, err := d.client.Do(d.request("GET", "/run/private/", nil)) // returns when the header arrives
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for i := range 3 {
		event := fmt.Sprintf("data: %d\n\n", i)
		next <- event
		buffer := make([]byte, len(event))
		if _, err := io.ReadFull(res.Body, buffer); err != nil || string(buffer) != event {
			t.Fatalf("got %q, %v", buffer, err)
		}
	}
	if n := d.journal.len(); n != 0 {
		t.Errorf("%d records before the end", n)
	}
	close(next)
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	if u := d.record(); u.BytesOut != 27 || u.Status != 200 {
		t.Errorf("record %+v", u)
	}
}

// A body of known length that comes in pieces is not held back either.
func TestPiecesOfKnownLengthArriveAtOnce(t *testing.T) {
	next := make(chan struct{})
	d := newDoor(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "6")
		for _, piece := range []string{"abc", "def"} {
			_, _ = io.WriteString(w, piece)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	res, err := d.client.Do(d.request("GET", "/run/private/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for range 2 {
		if _, err := io.ReadFull(res.Body, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		next <- struct{}{}
	}
}

func TestConversationInBothDirections(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		_ = control.Flush()
		body := bufio.NewReader(r.Body)
		for {
			line, err := body.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(w, strings.ToUpper(line))
			_ = control.Flush()
		}
	})
	up, feed := io.Pipe()
	res, err := d.client.Do(d.request("POST", "/run/private/", up))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answers := bufio.NewReader(res.Body)
	for range 3 {
		_, _ = io.WriteString(feed, "hello\n")
		if line, err := answers.ReadString('\n'); err != nil || line != "HELLO\n" {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	_ = feed.Close()
	if _, err := io.ReadAll(answers); err != nil {
		t.Fatal(err)
	}
}

func TestTrailers(t *testing.T) {
	got := make(chan http.Header, 1)
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum, X-Request-Id")
		_, _ = io.Copy(w, r.Body)
		got <- r.Trailer
		w.Header().Set("X-Sum", "42")
		w.Header().Set("X-Request-Id", "theirs")
		w.Header().Set(http.TrailerPrefix+"X-Unannounced", "2")
	})
	c := d.dial()
	c.send("POST /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n"+
		"Trailer: X-In, X-Forwarded-For, X-Api-Key\r\n\r\n1\r\na\r\n0\r\nX-In: 1\r\nX-Forwarded-For: 6.6.6.6\r\nX-Api-Key: %s\r\nVia: 1.0 x\r\nMax-Forwards: 5\r\nX-Late: 1\r\n\r\n",
		testKey, testKey)
	answer := c.answer("POST")
	if in := within(t, "trailer", got); len(in) != 2 || in.Get("X-In") != "1" || in.Get("X-Late") != "1" {
		t.Errorf("the program got %v", in)
	}
	if answer.text != "a" || answer.Trailer.Get("X-Sum") != "42" || answer.Trailer.Get("X-Unannounced") != "2" ||
		len(answer.Trailer) != 2 {
		t.Errorf("the consumer got %q, trailer %v", answer.text, answer.Trailer)
	}
}

func TestInformationalResponses(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		n := 1
		switch r.URL.Path {
		case "/flood":
			n = 1000
		case "/continue":
			w.WriteHeader(100)
			return
		}
		for range n {
			w.Header().Set("Link", "</x>; rel=preload")
			w.Header().Set("X-Request-Id", "theirs")
			w.WriteHeader(103)
		}
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "end")
	})
	var hints []http.Header
	r := d.request("GET", "/run/private/", nil)
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, http.Header(h))
			return nil
		},
	}))
	got := d.do(r)
	if len(hints) != 1 || hints[0].Get("Link") == "" || len(hints[0]) != 1 {
		t.Errorf("hints %v", hints)
	}
	if got.text != "end" || got.Header.Get("Link") != "" || got.Header.Get("X-Request-ID") == "theirs" {
		t.Errorf("answer %q %v", got.text, got.Header)
	}
	d.get("/run/private/flood").wantProblem(t, 502, wordBadResponse)
	hints = nil
	r.URL.Path = "/run/private/continue"
	if d.do(r); len(hints) != 0 {
		t.Errorf("a consumer that expects nothing was told to continue: %v", hints)
	}
	c := d.dial()
	c.send("GET /run/public/ HTTP/1.0\r\n\r\n")
	if got := c.answer("GET"); got.StatusCode != 200 {
		t.Errorf("an HTTP/1.0 consumer got status %d first", got.StatusCode)
	}
}

func TestHeadAndBodilessAnswers(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.Header().Set("ETag", `"x"`)
			w.WriteHeader(304)
		default:
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "hello")
		}
	})
	if got := d.do(d.request("HEAD", "/run/private/", nil)); got.ContentLength != 5 || got.text != "" {
		t.Errorf("HEAD: length %d, body %q", got.ContentLength, got.text)
	}
	if u := d.record(); u.BytesOut != 0 || u.Status != 200 {
		t.Errorf("HEAD: record %+v", u)
	}
	for _, status := range []int{204, 304} {
		if got := d.get(fmt.Sprintf("/run/private/%d", status)); got.StatusCode != status {
			t.Errorf("status %d", got.StatusCode)
		}
		if u := d.record(); u.Status != status {
			t.Errorf("record %+v", u)
		}
	}
	if got := d.do(d.request("HEAD", "/run/nobody/", nil)); got.StatusCode != 404 || got.text != "" || got.ContentLength <= 0 {
		t.Errorf("HEAD of a problem: %d %q %d", got.StatusCode, got.text, got.ContentLength)
	}
}
