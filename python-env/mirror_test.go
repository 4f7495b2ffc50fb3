package pythonenv

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// mirrorOf serves a build's view of an index until the test ends, and returns the path of the index's pages in it.
func mirrorOf(t *testing.T, index http.HandlerFunc) (listener *countingListener, pages string) {
	t.Helper()
	server := httptest.NewServer(index)
	t.Cleanup(server.Close)
	cfg := smallConfig(t, filepath.Join(tempDir(t), "envs"))
	cfg.IndexURL = server.URL
	b := started(t, cfg)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener = &countingListener{Listener: inner}
	served := make(chan struct{})
	go func() {
		defer close(served)
		(&mirror{up: b.up, max: 1 << 40, exceed: func() {}, say: func(string) {}}).serve(listener)
	}()
	t.Cleanup(func() { _ = listener.Close(); <-served })
	return listener, "/i/" + idOf(at) + "/"
}

type countingListener struct {
	net.Listener
	accepted atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return c, err
}

// TestABuildThatAsksForManyLargePages reads none of the answers.
func TestABuildThatAsksForManyLargePages(t *testing.T) {
	const clients = 6
	page := []byte("<!DOCTYPE html>" + strings.Repeat(" ", 24<<20))
	var whole atomic.Int64
	first := make(chan struct{}, clients)
	l, pages := mirrorOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if _, err := w.Write(page); err == nil {
			whole.Add(1)
			first <- struct{}{}
		}
	})
	for n := range clients {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET %sx%d/ HTTP/1.1\r\nHost: x\r\n\r\n", pages, n)
	}
	select {
	case <-first:
	case <-time.After(20 * time.Second):
		t.Fatal("no page was read")
	}
	time.Sleep(300 * time.Millisecond) // for those that must not come
	if n := whole.Load(); n > 1 {
		t.Errorf("the server holds %d large pages for a build", n)
	}
}

func TestABuildThatConnectsVeryOften(t *testing.T) {
	l, _ := mirrorOf(t, http.NotFound)
	for range maxConnections + 50 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	deadline := time.Now().Add(10 * time.Second)
	for l.accepted.Load() < maxConnections && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	if n := l.accepted.Load(); n != maxConnections {
		t.Errorf("the server holds %d connections of a build, at most %d are due", n, maxConnections)
	}
}
