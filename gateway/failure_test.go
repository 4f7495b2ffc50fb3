package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"apibuilder/sandbox"
	"apibuilder/store"
)

func TestBadResponses(t *testing.T) {
	var answer string
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err == nil {
			_, _ = io.WriteString(conn, answer)
		}
	})
	for name, text := range map[string]string{
		"nothing":            "",
		"no HTTP":            "hello\r\n\r\n",
		"cut in the header":  "HTTP/1.1 200 OK\r\nX-A: ",
		"two lengths":        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"negative length":    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"unknown coding":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"status 0":           "HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n",
		"status 99":          "HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
		"four digits":        "HTTP/1.1 2000 X\r\nContent-Length: 0\r\n\r\n",
		"huge header":        "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 1<<20) + "\r\n\r\n",
		"unasked switch":     "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"switch without why": "HTTP/1.1 101 X\r\n\r\n",
	} {
		answer = text
		got := d.get("/run/private/")
		t.Run(name, func(t *testing.T) {
			got.wantProblem(t, 502, wordBadResponse)
			if u := d.record(); u.Status != 502 || u.Error != wordBadResponse {
				t.Errorf("record %+v", u)
			}
		})
	}
	answer = "HTTP/1.1 799 Own\r\nX-A: a\r\nContent-Length: 0\r\n\r\n"
	if got := d.get("/run/private/"); got.StatusCode != 799 {
		t.Errorf("status %d", got.StatusCode)
	}
}

// What to run of an API is read from the store too, and neither the consumer nor the program is to blame when that is away.
func TestWhatToRunIsNotKnown(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) { t.Error("the program was called") })
	d.store.updateAPI("api_private", func(a *store.API) { a.Options.Quota = 1 })
	for _, cause := range []error{errors.New("connection refused"), context.DeadlineExceeded} {
		d.sandboxes.err = fmt.Errorf("read version 3: %w: %w", store.ErrUnavailable, cause)
		got := d.get("/run/private/")
		got.wantProblem(t, 503, wordStoreUnavailable)
		if got.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		if u := d.record(); !u.Refused() {
			t.Errorf("it uses up quotas: %+v", u)
		}
	}
}

// A server that has no descriptors left for a connection to the program does not say that the program is broken.
func TestNoDescriptorsAreLeft(t *testing.T) {
	d := newRawDoor(t, Config{}, func(net.Conn, *bufio.Reader) {})
	for _, cause := range []error{syscall.EMFILE, syscall.ENFILE} {
		d.sandboxes.transport = NewTransport(func(context.Context) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", cause)}
		})
		d.get("/run/private/").wantProblem(t, 503, wordOverloaded)
		if u := d.record(); u.Status != 503 || u.Error != wordOverloaded {
			t.Errorf("record %+v", u)
		}
	}
}

// An answer that breaks off must not look whole.
func TestBrokenBodies(t *testing.T) {
	for name, text := range map[string]string{
		"short":         "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"chunk missing": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"bad chunk":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
				_, _ = readHead(r)
				_, _ = io.WriteString(conn, text)
			})
			d.sandboxes.exit = &sandbox.Exit{Reason: sandbox.OutOfMemory}
			res, err := d.client.Do(d.request("GET", "/run/private/", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if body, err := io.ReadAll(res.Body); err == nil || string(body) != "half" {
				t.Errorf("body %q, error %v", body, err)
			}
			if u := d.record(); u.Status != 200 || u.Error != string(sandbox.OutOfMemory) || u.BytesOut != 4 {
				t.Errorf("record %+v", u)
			}
		})
	}
}

// A program that ends between the header and the body of its answer has answered nothing yet.
func TestDeathBeforeTheBodyIsTyped(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
			_, _ = readHead(r)
			_, _ = io.WriteString(conn, "HTTP/1.1 201 Created\r\nX-A: a\r\nETag: \"1\"\r\nContent-Length: 10\r\n\r\n")
		})
		d.sandboxes.exit = &sandbox.Exit{Reason: sandbox.Crashed}
		c := d.dial()
		c.send("%s /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nContent-Length: 0\r\n\r\n", method, testKey)
		got := c.answer(method)
		got.wantProblem(t, 502, "crashed")
		if got.Header.Get("ETag") != "" || got.Header.Get("X-A") != "" {
			t.Errorf("%s: the problem has fields of the program's: %v", method, got.Header)
		}
		if u := d.record(); u.Status != 502 || u.Error != "crashed" {
			t.Errorf("%s: record %+v", method, u)
		}
	}
}

// Nor has one answered that stands still there.
func TestStallBeforeTheBodyIsTyped(t *testing.T) {
	released := make(chan struct{})
	d := newRawDoor(t, Config{Timeouts: Timeouts{Stream: 100 * time.Millisecond}}, func(conn net.Conn, r *bufio.Reader) {
		_, _ = readHead(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
		<-released
	})
	defer close(released)
	for _, client := range []*http.Client{d.client, overHTTP2(d.addr, nil)} {
		d.client = client
		defer client.CloseIdleConnections()
		got := d.get("/run/private/")
		got.wantProblem(t, 504, wordIdleTimeout)
		if u := d.record(); u.Status != 504 || u.Error != wordIdleTimeout {
			t.Errorf("%s: record %+v", got.Proto, u)
		}
	}
}

func TestDeadSandboxesAreTyped(t *testing.T) {
	d := newRawDoor(t, Config{}, func(net.Conn, *bufio.Reader) {})
	for reason, status := range map[sandbox.Reason]int{
		sandbox.OutOfMemory: 502, sandbox.Crashed: 502, sandbox.KilledBySeccomp: 502, sandbox.TooManyProcesses: 502,
		sandbox.RequestTimeout: 504, sandbox.Draining: 503, "newer_reason": 502,
	} {
		d.sandboxes.exit = &sandbox.Exit{Reason: reason, Detail: "secret traceback", Output: "secret output"}
		got := d.get("/run/private/")
		got.wantProblem(t, status, string(reason))
		if strings.Contains(got.text, "secret") {
			t.Errorf("the consumer got %s", got.text)
		}
		if u := d.record(); u.Status != status || u.Error != string(reason) || u.Version != 3 || u.KeyID != "key_1" {
			t.Errorf("record %+v", u)
		}
	}
}

// What follows a request on its connection, and is malformed, is not what was wrong with the request.
func TestWhatFollowsIsNotToBlame(t *testing.T) {
	d := newRawDoor(t, Config{}, func(_ net.Conn, r *bufio.Reader) { _, _ = readHead(r) })
	d.sandboxes.exit = &sandbox.Exit{Reason: sandbox.Crashed}
	c := d.dial()
	c.send("GET /run/public/ HTTP/1.1\r\nHost: h\r\n\r\nno request\r\n\r\n")
	c.answer("GET").wantProblem(t, 502, string(sandbox.Crashed))
	if u := d.record(); u.Status != 502 || u.Error != string(sandbox.Crashed) {
		t.Errorf("record %+v", u)
	}
	c.answer("GET").wantProblem(t, 400, wordBadRequest)
}

func TestAcquireErrors(t *testing.T) {
	d := newDoor(t, Config{StartTimeout: 50 * time.Millisecond}, func(http.ResponseWriter, *http.Request) {})
	for _, c := range []struct {
		err    error
		status int
		word   string
	}{
		{&sandbox.Exit{Reason: sandbox.ImportError, Detail: "secret"}, 502, "import_error"},
		{fmt.Errorf("start: %w", &sandbox.Exit{Reason: sandbox.StartTimeout}), 502, "start_timeout"},
		{fmt.Errorf("start: %w", sandbox.ErrNoRoom), 503, wordNoRoom},
		{sandbox.ErrStopped, 503, wordDraining},
		{store.ErrNotFound, 404, wordUnknownAPI},
		{errors.New("secret"), 500, wordInternal},
	} {
		d.sandboxes.err = c.err
		got := d.get("/run/private/")
		got.wantProblem(t, c.status, c.word)
		if strings.Contains(got.text, "secret") {
			t.Errorf("%v: the consumer got %s", c.err, got.text)
		}
		if (got.Header.Get("Retry-After") != "") != (c.status == 503) {
			t.Errorf("%v: Retry-After %q", c.err, got.Header.Get("Retry-After"))
		}
	}
	d.sandboxes.err = &sandbox.Exit{Reason: sandbox.CrashLoop, RetryAt: time.Now().Add(90 * time.Second)}
	got := d.get("/run/private/")
	got.wantProblem(t, 502, "crash_loop")
	if after, err := strconv.Atoi(got.Header.Get("Retry-After")); err != nil || after < 30 || after > 90 {
		t.Errorf("Retry-After %q for a program that is started again in 90 s", got.Header.Get("Retry-After"))
	}
	d.sandboxes.err, d.sandboxes.block = nil, true
	d.get("/run/private/").wantProblem(t, 504, wordRequestTimeout)
}

// The program dies while the consumer pauses its upload: neither may keep the other waiting.
func TestProgramDiesWhileConsumerPauses(t *testing.T) {
	d := newRawDoor(t, Config{}, func(_ net.Conn, r *bufio.Reader) { _, _ = readHead(r) })
	d.sandboxes.exit = &sandbox.Exit{Reason: sandbox.Crashed}
	c := d.dial()
	c.send("POST /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", testKey)
	c.answer("POST").wantProblem(t, 502, "crashed")
}

// A consumer that leaves while its sandbox starts is nobody's failure, also where it has sent more than the request, at once or later.
func TestConsumerGoneDuringStart(t *testing.T) {
	for name, c := range map[string]struct{ behind, later string }{
		"nothing more":             {},
		"a byte behind it":         {behind: "G"},
		"another request":          {behind: "GET /run/private/ HTTP/1.1\r\nHost: h\r\n\r\n"},
		"a byte later":             {later: "G"},
		"more than a buffer holds": {later: strings.Repeat("G", 3*readBytes)},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
			d.sandboxes.block = true
			w := d.dial()
			w.send("GET /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\n\r\n%s", testKey, c.behind)
			within(t, "Acquire", d.sandboxes.waiting)
			if c.later != "" {
				time.Sleep(2 * lookAfter) // somebody reads by now
				w.send("%s", c.later)
				time.Sleep(lookAfter)
			}
			_ = w.Close()
			if u := d.record(); u.Status != 499 || u.Error != wordClientGone {
				t.Errorf("record %+v", u)
			}
		})
	}
}

// One that has sent another request and stays is answered, however often is looked at it meanwhile.
func TestAPatientConsumerOfTwoAnswers(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(3 * lookAfter)
		_, _ = io.WriteString(w, r.URL.Path)
	})
	c := d.dial()
	const request = "GET /run/private/%s HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\n\r\n"
	c.send(request+request, "a", testKey, "b", testKey)
	for _, want := range []string{"/a", "/b"} {
		if got := c.answer("GET"); got.StatusCode != 200 || !strings.HasSuffix(got.text, want) {
			t.Errorf("%d %q, want %s", got.StatusCode, got.text, want)
		}
	}
}
