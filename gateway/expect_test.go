package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

func TestExpectContinue(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(403)
			return
		}
		_, _ = io.Copy(w, r.Body)
	})
	send := func(path, key string) *raw {
		c := d.dial()
		c.send("POST /run/private%s HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", path, key)
		return c
	}
	c := send("/take", testKey)
	if line, _ := c.r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q", line)
	}
	_, _ = c.r.ReadString('\n')
	c.send("body")
	if got := c.answer("POST"); got.StatusCode != 200 || got.text != "body" {
		t.Fatalf("status %d, body %q", got.StatusCode, got.text)
	}
	if got := send("/refuse", testKey).answer("POST"); got.StatusCode != 403 {
		t.Fatalf("status %d", got.StatusCode)
	}
	send("/take", unknownK).answer("POST").wantProblem(t, 401, wordInvalidKey)
}

// TestTheProgramAsksForTheBody: a consumer who waits to be asked is asked when the program is about to read, however late, and not at all when
// it never reads; what is sent without being asked for arrives. While nobody asks, it is the program that is waited for.
func TestTheProgramAsksForTheBody(t *testing.T) {
	const late, later = continueWait + 200*time.Millisecond, continueWait + 500*time.Millisecond
	end := make(chan struct{})
	defer close(end)
	d := newDoor(t, Config{Timeouts: Timeouts{FirstByte: 3 * time.Second, Upload: continueWait / 2}}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			<-end
		case "/refuse":
			time.Sleep(later)
			w.WriteHeader(http.StatusForbidden)
		default:
			time.Sleep(later)
			_, _ = io.Copy(w, r.Body)
		}
	})
	const asked = "HTTP/1.1 100 Continue\r\n"
	var group sync.WaitGroup
	defer group.Wait()
	for name, c := range map[string]struct {
		path, first string        // of what the consumer reads
		send        time.Duration // when the consumer sends; 0: when it is asked
		answer      string        // behind an asked
	}{
		"asked late":               {"/read", asked, 0, "body"},
		"sends at once":            {"/read", "HTTP/1.1 200 OK\r\n", time.Nanosecond, ""},
		"sends before it is asked": {"/read", "HTTP/1.1 200 OK\r\n", late, ""},
		"refused unread":           {"/refuse", "HTTP/1.1 403 Forbidden\r\n", 0, ""},
		"no answer":                {"/hang", "HTTP/1.1 504 Gateway Timeout\r\n", 0, ""},
		"asked, and stalls":        {"/read", asked, time.Hour, wordBodyTimeout},
	} {
		for framing, body := range map[string]string{"Content-Length: 4": "body", "Transfer-Encoding: chunked": "4\r\nbody\r\n0\r\n\r\n"} {
			conn, began := d.dial(), time.Now()
			conn.send("POST /run/public%s HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n%s\r\n\r\n", c.path, framing)
			if c.send > 0 {
				time.AfterFunc(c.send, func() { _, _ = io.WriteString(conn, body) })
			}
			group.Go(func() {
				first, err := conn.r.ReadString('\n')
				if err != nil || first != c.first || time.Since(began) < later {
					t.Errorf("%s, %s: %q after %v, %v", name, framing, first, time.Since(began), err)
				}
				if c.first != asked {
					return
				}
				_, _ = conn.r.ReadString('\n')
				if c.send == 0 {
					_, _ = io.WriteString(conn, body)
				}
				res, err := http.ReadResponse(conn.r, nil)
				if err != nil {
					t.Errorf("%s, %s: %v", name, framing, err)
					return
				}
				if text, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(text), c.answer) {
					t.Errorf("%s, %s: %q, %v", name, framing, text, err)
				}
			})
		}
	}
}

// TestTheProgramAsksOverHTTP2: the same over HTTP/2, where the first read of the body that the gateway does is early as well.
func TestTheProgramAsksOverHTTP2(t *testing.T) {
	const later = continueWait + 200*time.Millisecond
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(later)
		if r.Header.Get("X-Refuse") != "" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.Copy(w, r.Body)
	})
	var group sync.WaitGroup
	defer group.Wait()
	for name, c := range map[string]struct {
		fields []string
		early  bool   // the consumer sends without being asked
		want   string // statuses
	}{
		"asked late":     {want: "100 200"},
		"sends at once":  {early: true, want: "200"},
		"refused unread": {fields: []string{"x-refuse", "1"}, want: "403"},
	} {
		s, began := d.second(), time.Now()
		s.open(1, false, "POST", append(c.fields, "expect", "100-continue")...)
		if c.early {
			s.raw(http2.FrameData, endStream, 1, "body")
		}
		group.Go(func() {
			var statuses []string
			for len(statuses) == 0 || statuses[len(statuses)-1] == "100" {
				frame, err := s.ReadFrame()
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				f, ok := frame.(*http2.MetaHeadersFrame)
				if !ok {
					continue
				}
				statuses = append(statuses, f.PseudoValue("status"))
				if statuses[0] == "100" && len(statuses) == 1 {
					if err := s.WriteData(1, true, []byte("body")); err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
				}
			}
			if got := strings.Join(statuses, " "); got != c.want || time.Since(began) < later {
				t.Errorf("%s: %s after %v, want %s", name, got, time.Since(began), c.want)
			}
		})
	}
}

// TestInformedAndAsked: a consumer who waits to be asked for the body gets other informational answers as well.
func TestInformedAndAsked(t *testing.T) {
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
		body := make([]byte, 4)
		_, _ = io.ReadFull(r, body)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"+string(body))
	})
	c := d.dial()
	c.send("POST /run/public/ HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	for _, want := range []string{"HTTP/1.1 103", "HTTP/1.1 100"} {
		if head, err := readHead(c.r); err != nil || !strings.HasPrefix(head, want) {
			t.Fatalf("got %q, %v, want %s", head, err, want)
		}
	}
	c.send("body")
	if got := c.answer("POST"); got.StatusCode != 200 || got.text != "body" {
		t.Errorf("status %d, body %q", got.StatusCode, got.text)
	}
}

// TestAskingAgainIsNoProgress: a program may send one 100 after the other.
func TestAskingAgainIsNoProgress(t *testing.T) {
	const limit = 200 * time.Millisecond
	d := newRawDoor(t, Config{Timeouts: Timeouts{FirstByte: limit, Upload: limit}}, func(conn net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		for began := time.Now(); time.Since(began) < patience; time.Sleep(limit / 10) {
			if _, err := io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
				return
			}
		}
	})
	c := d.dial()
	c.send("POST /run/public/ HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	if head, err := readHead(c.r); err != nil || head != "HTTP/1.1 100 Continue\r\n\r\n" {
		t.Fatalf("%q, %v", head, err)
	}
	c.answer("POST").wantProblem(t, 408, wordBodyTimeout)
}

// TestAReadThatNobodyAskedForEndsAtOnce: an answer does not wait for it.
func TestAReadThatNobodyAskedForEndsAtOnce(t *testing.T) {
	for held, want := range map[bool]time.Duration{true: 0, false: kickGrace} {
		synctest.Test(t, func(t *testing.T) {
			took := make(chan time.Duration, 1)
			l, _, end := serveHTTP1(func(w http.ResponseWriter, r *http.Request) {
				u := &upload{
					body: r.Body, control: http.NewResponseController(w), length: r.ContentLength, ctx: r.Context(), moved: func() {}, ended: func() {},
				}
				if held {
					u.hold()
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_, _ = u.Read(make([]byte, 1))
				}()
				time.Sleep(time.Second)
				began := time.Now()
				u.abort()
				<-ended
				took <- time.Since(began)
			})
			defer end()
			c := l.dial()
			defer c.Close()
			go func() { _, _ = io.Copy(io.Discard, c) }()
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
			if got := <-took; got != want {
				t.Errorf("held %v: it took %v, want %v", held, got, want)
			}
		})
	}
}
