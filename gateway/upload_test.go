package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"apibuilder/store"
)

// 64 MiB go up and come down while both ends see them move; the heap does not grow by a fraction of that.
func TestLargeBodiesMoveWithBoundedMemory(t *testing.T) {
	const size = 64 << 20
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.Copy(w, r.Body)
	})
	var before, most runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	body := &pattern{left: size, every: func() {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		if now.HeapAlloc > most.HeapAlloc {
			most = now
		}
	}}
	r := d.request("POST", "/run/private/", body)
	r.ContentLength = size
	res, err := d.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil || n != size {
		t.Fatalf("%d bytes came back: %v", n, err)
	}
	if u := d.record(); u.BytesIn != size || u.BytesOut != size {
		t.Errorf("record %+v", u)
	}
	if grown := int64(most.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// pattern is a body that is made while it is read.
type pattern struct {
	left  int
	reads int
	every func()
}

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	if p.reads++; p.reads%64 == 0 && p.every != nil {
		p.every()
	}
	n := min(len(b), p.left)
	p.left -= n
	return n, nil
}

// Pieces of an upload arrive while the upload goes on, in both framings.
func TestUploadIsNotHeldBack(t *testing.T) {
	arrived := make(chan byte, 1<<20)
	d := newDoor(t, Config{}, func(_ http.ResponseWriter, r *http.Request) {
		body := bufio.NewReader(r.Body)
		for {
			b, err := body.ReadByte()
			if err != nil {
				return
			}
			arrived <- b
		}
	})
	c := d.dial()
	c.send("POST /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", testKey)
	within(t, "first chunk", arrived)
	c.send("1\r\nb\r\n")
	within(t, "second chunk", arrived)
	c.send("0\r\n\r\n")
	if got := c.answer("POST"); got.StatusCode != 200 {
		t.Fatalf("status %d", got.StatusCode)
	}
	c.send("POST /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nContent-Length: 20000\r\n\r\n%s", testKey, strings.Repeat("x", 10000))
	for range 4096 {
		within(t, "first part", arrived)
	}
	c.send("%s", strings.Repeat("x", 10000))
	if got := c.answer("POST"); got.StatusCode != 200 {
		t.Fatalf("status %d", got.StatusCode)
	}
}

// The program answers before the upload ends: the consumer gets the answer although it has not sent everything, whether
// the program keeps its connection or closes it.
func TestEarlyAnswer(t *testing.T) {
	for _, closes := range []bool{false, true} {
		for _, framing := range []string{"Content-Length: 100000000", "Transfer-Encoding: chunked"} {
			t.Run(fmt.Sprint(framing, closes), func(t *testing.T) {
				gone := make(chan struct{}, 1)
				d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
					_, _ = readHead(r)
					_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Big\r\nContent-Length: 2\r\n\r\nno")
					if !closes {
						_, _ = io.Copy(io.Discard, r)
					}
					gone <- struct{}{}
				})
				c := d.dial()
				c.send("POST /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\n%s\r\n\r\n", testKey, framing)
				chunk := strings.Repeat("x", 1<<16)
				if strings.HasPrefix(framing, "T") {
					chunk = "10000\r\n" + chunk + "\r\n"
				}
				c.send("%s", chunk)
				if got := c.answer("POST"); got.StatusCode != 413 || got.text != "no" || !got.Close {
					t.Fatalf("status %d, body %q, close %v", got.StatusCode, got.text, got.Close)
				}
				within(t, "end of the program's connection", gone)
				if u := d.record(); u.Status != 413 || u.Error != "" {
					t.Errorf("record %+v", u)
				}
			})
		}
	}
}

// A consumer that pauses its upload after the answer does not hold the connection, also when its bytes are stuck on the
// way to a program that does not read.
func TestPausedUploadEndsAfterTheAnswer(t *testing.T) {
	for _, reads := range []bool{false, true} {
		hold := make(chan struct{})
		d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
			_, _ = readHead(r)
			if reads {
				_, _ = io.CopyN(io.Discard, r, 290_000)
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Big\r\nContent-Length: 2\r\n\r\nno")
			<-hold
		})
		c := d.dial()
		c.send("POST /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nContent-Length: 300000\r\n\r\n", testKey)
		c.send("%s", strings.Repeat("x", 290_000))
		if got := c.answer("POST"); got.StatusCode != 413 {
			t.Fatalf("status %d", got.StatusCode)
		}
		if _, err := c.r.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("reads %v: the connection lives on: %v", reads, err)
		}
		close(hold)
	}
}

// An empty body in chunks is not the same as none.
func TestFramingIsKept(t *testing.T) {
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		head, _ := readHead(r)
		coding := strings.Join(fieldsOf(head, "Transfer-Encoding"), ",")
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(coding), coding)
		_, _ = io.Copy(io.Discard, r)
	})
	c := d.dial()
	c.send("GET /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", testKey)
	if got := c.answer("GET"); got.text != "chunked" {
		t.Errorf("the program got Transfer-Encoding %q", got.text)
	}
}

// An early answer while the consumer keeps sending, and the program has closed: no reset may eat the answer.
func TestEarlyAnswerWhileSending(t *testing.T) {
	d := newRawDoor(t, Config{}, func(conn net.Conn, r *bufio.Reader) {
		_, _ = readHead(r)
		_, _ = io.CopyN(io.Discard, r, 1<<20)
		_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Big\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
	})
	for range 20 {
		c := d.dial()
		c.send("POST /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nContent-Length: 1000000000\r\n\r\n", testKey)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_, _ = io.Copy(c.Conn, &pattern{left: 1_000_000_000})
		}()
		if got := c.answer("POST"); got.StatusCode != 413 || got.text != "no" {
			t.Fatalf("status %d, body %q", got.StatusCode, got.text)
		}
		_ = c.Close()
		<-sent
	}
}

func TestConsumerGoneInUpload(t *testing.T) {
	began := make(chan struct{})
	d := newDoor(t, Config{}, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = r.Body.Read(make([]byte, 1))
		close(began)
		_, _ = io.Copy(io.Discard, r.Body)
	})
	c := d.dial()
	c.send("POST /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", testKey)
	within(t, "request", began)
	_ = c.Close()
	if u := d.record(); u.Status != 499 || u.Error != wordClientGone || u.BytesIn != 1 {
		t.Errorf("record %+v", u)
	}
}

func TestBadUpload(t *testing.T) {
	d := newDoor(t, Config{Limits: Limits{BodyBytes: 1000}}, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	for name, c := range map[string]struct {
		send   string
		status int
		word   string
	}{
		"bad chunk":          {"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, wordBadRequest},
		"too long, declared": {"Content-Length: 1001\r\n\r\n", 413, wordBodyTooLarge},
		"too long, chunked":  {"Transfer-Encoding: chunked\r\n\r\n800\r\n" + strings.Repeat("x", 2048) + "\r\n", 413, wordBodyTooLarge},
		"too long by a byte": {"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + strings.Repeat("x", 1001) + "\r\n0\r\n\r\n", 413, wordBodyTooLarge},
		"the most, chunked":  {"Transfer-Encoding: chunked\r\n\r\n3e8\r\n" + strings.Repeat("x", 1000) + "\r\n0\r\n\r\n", 200, ""},
		"not too long":       {"Content-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000), 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn := d.dial()
			conn.send("POST /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\n%s", testKey, c.send)
			got := conn.answer("POST")
			if c.word == "" {
				if got.StatusCode != c.status {
					t.Fatalf("status %d", got.StatusCode)
				}
				return
			}
			got.wantProblem(t, c.status, c.word)
			if whole := strings.HasSuffix(c.send, "\r\n0\r\n\r\n"); got.Close == whole {
				t.Errorf("the connection closes: %v", got.Close)
			}
		})
	}
}

// A refused request's small body is read, so that the connection stays; a large or slow one costs the connection.
func TestRefusedBodies(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) { t.Error("the program was called") })
	c := d.dial()
	for range 3 {
		c.send("POST /run/private/ HTTP/1.1\r\nHost: h\r\nContent-Length: 10000\r\n\r\n%s", strings.Repeat("x", 10000))
		got := c.answer("POST")
		got.wantProblem(t, 401, wordMissingKey)
		if got.Close {
			t.Fatal("the connection closes for a small body")
		}
	}
	for _, send := range []string{
		"Content-Length: 1000000000\r\n\r\n", "Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n",
	} {
		c := d.dial()
		c.send("POST /run/private/ HTTP/1.1\r\nHost: h\r\n%s", send)
		got := c.answer("POST")
		got.wantProblem(t, 401, wordMissingKey)
		if !got.Close {
			t.Errorf("%q: the connection stays open", send)
		}
		if _, err := c.r.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: the connection lives on: %v", send, err)
		}
	}
}

// A crawling body is cut off by the time that was spent waiting for it; time in which the program did not read is free.
func TestCrawlingBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crawl := func(pause, think time.Duration, relaxed bool) (int64, error) {
			u := &upload{
				body: iotest.OneByteReader(slowReader{pause}), length: -1, ctx: t.Context(), moved: func() {}, ended: func() {},
			}
			u.relaxed.Store(relaxed)
			for range 10_000 {
				time.Sleep(think)
				if _, err := u.Read(make([]byte, 100)); err != nil {
					word, _ := u.blame()
					return u.size(), fmt.Errorf("%s: %w", word, err)
				}
			}
			return u.size(), nil
		}
		if n, err := crawl(time.Second, 0, false); !errors.Is(err, errBodyCrawls) || n != 11 {
			t.Errorf("one byte a second: cut after %d bytes: %v", n, err)
		} else if !strings.HasPrefix(err.Error(), wordBodyTimeout) {
			t.Errorf("word %v", err)
		}
		for _, c := range []struct {
			pause, think time.Duration
			relaxed      bool
		}{{time.Millisecond, 0, false}, {0, time.Second, false}, {time.Second, 0, true}} {
			if n, err := crawl(c.pause, c.think, c.relaxed); err != nil {
				t.Errorf("%+v: cut after %d bytes: %v", c, n, err)
			}
		}
	})
}

type slowReader struct{ pause time.Duration }

func (r slowReader) Read(p []byte) (int, error) {
	time.Sleep(r.pause)
	return len(p), nil
}

// A consumer that leaves is noticed although nobody reads its body: in the queue, before a start, and at a program that does not read.
func TestConsumerGoneBeforeItsBodyIsRead(t *testing.T) {
	for name, length := range map[string]int{"the body has come": 5, "the body goes on": 1 << 20, "more than the way holds": 64 << 20} {
		for _, where := range []string{"queue", "start", "program"} {
			t.Run(name+", "+where, func(t *testing.T) {
				arrived := make(chan struct{}, 2)
				d := newRawDoor(t, Config{}, func(_ net.Conn, r *bufio.Reader) {
					if _, err := readHead(r); err == nil {
						arrived <- struct{}{}
						<-t.Context().Done()
					}
				})
				d.sandboxes.block = where == "start"
				if where == "queue" {
					full := mustEnter(t, &d.gateway.admission, "api_private", "", Limits{APIRequests: 1})
					defer full.leave()
					d.store.updateAPI("api_private", func(a *store.API) { a.Options = store.Options{MaxRequests: 1, QueueTimeout: time.Hour} })
				}
				c := d.dial()
				c.send("POST /run/private/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nContent-Length: %d\r\n\r\nhello", testKey, length)
				switch where {
				case "start":
					within(t, "Acquire", d.sandboxes.waiting)
				case "program":
					within(t, "arrival", arrived)
				default:
					for d.gateway.admission.count("api_private") < 2 { // nothing tells that it waits
						time.Sleep(time.Millisecond)
					}
				}
				if length > 1<<20 {
					_ = c.SetWriteDeadline(time.Now().Add(time.Second / 4))
					_, _ = io.CopyN(c, &pattern{left: length}, int64(length-5))
					_ = c.Conn.(*net.TCPConn).SetLinger(0) // an orderly end would wait behind the bytes for which there is no room
				}
				_ = c.Close()
				if u := d.record(); u.Status != 499 || u.Error != wordClientGone {
					t.Errorf("record %+v", u)
				}
				if where == "queue" && len(arrived) > 0 {
					t.Error("the program was called")
				}
			})
		}
	}
}
