package gateway

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A connection that is idle for long keeps no buffer, and loses no byte of what comes then.
func TestIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s, end := serveHTTP1(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
		c := l.dial()
		r := bufio.NewReader(c)
		ask := func() {
			t.Helper()
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if text, _ := io.ReadAll(res.Body); string(text) != "ok" {
				t.Fatalf("answer %q", text)
			}
		}
		for _, pause := range []time.Duration{0, bufferTime / 2, 2 * bufferTime, keepAlive - 2*bufferTime} {
			time.Sleep(pause)
			synctest.Wait()
			if pause > bufferTime {
				for conn := range s.conns {
					if conn.r != nil {
						t.Errorf("a buffer after %v", pause)
					}
				}
			}
			ask()
		}
		begin := time.Now()
		_, err := r.ReadByte()
		if took := time.Since(begin); err != io.EOF || took < keepAlive || took > keepAlive+time.Second { //nolint:errorlint // of a pipe
			t.Errorf("ended after %v: %v", took, err)
		}
		end()
		synctest.Wait()
	})
}

// TestStalledHeads has a consumer stop in the middle of the head of its first request, of one on a connection that was kept, and of one that it
// sends before the one before is answered. It ends without an answer.
func TestStalledHeads(t *testing.T) {
	const whole, half = "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHo"
	for name, c := range map[string]struct {
		first   string
		answers int
		pause   time.Duration
		rest    string
	}{
		"the first":                        {half, 0, 0, ""},
		"a kept connection's":              {whole, 1, time.Second, half},
		"one that was kept for long":       {whole, 1, 2 * bufferTime, half},
		"with the one before":              {whole + half, 1, 0, ""},
		"a byte with the one before":       {whole + "G", 1, 0, ""},
		"while the one before is answered": {strings.Replace(whole, "/", "/slow", 1), 0, lookAfter * 2, half},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, s, end := serveHTTP1(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/slow" {
						time.Sleep(time.Second)
					}
					_, _ = io.WriteString(w, "ok")
				})
				conn := l.dial()
				r := bufio.NewReader(conn)
				if _, err := io.WriteString(conn, c.first); err != nil {
					t.Fatal(err)
				}
				for range c.answers {
					res, err := http.ReadResponse(r, nil)
					if err != nil {
						t.Fatal(err)
					}
					_, _ = io.Copy(io.Discard, res.Body)
				}
				time.Sleep(c.pause)
				go func() { _, _ = io.WriteString(conn, c.rest) }()
				began := time.Now()
				if text, _ := io.ReadAll(r); strings.Contains(string(text), "Bad Request") {
					t.Errorf("it was answered: %q", text)
				}
				if took := time.Since(began); took < headerTimeout-time.Second || took > headerTimeout+2*time.Second {
					t.Errorf("it ended after %v", took)
				}
				synctest.Wait()
				if len(s.conns) > 0 {
					t.Errorf("%d connections are left", len(s.conns))
				}
				end()
				synctest.Wait()
			})
		})
	}
}
