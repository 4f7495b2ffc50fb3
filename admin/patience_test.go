package admin_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/logs"
	"apibuilder/store"
)

// pipes is a listener whose connections are pipes, on which nothing is on its way: what is not read is not written.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.done)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// knock serves h in a bubble and returns a connection on which a request was sent. It calls when the handler has returned.
func knock(t *testing.T, h http.Handler, request string) (conn net.Conn, returned chan struct{}) {
	t.Helper()
	l := &pipes{make(chan net.Conn), make(chan struct{})}
	returned = make(chan struct{}, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { returned <- struct{}{} }()
		h.ServeHTTP(w, r)
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	theirs, ours := net.Pipe()
	l.conns <- theirs
	t.Cleanup(func() {
		server.Close()
		ours.Close()
		<-served
	})
	if _, err := io.WriteString(ours, request); err != nil {
		t.Fatal(err)
	}
	return ours, returned
}

// TestWhoDoesNotReadIsLeft asks for different answers and reads none of them.
func TestWhoDoesNotReadIsLeft(t *testing.T) {
	f := newFixture(t)
	api := f.deployed(t, "hello", store.Version{Code: strings.Repeat("x", 100_000), State: store.VersionReady})
	for range 1000 {
		f.print(t, api.ID, logs.Line{Stream: "stdout", Text: strings.Repeat("y", 100)})
	}
	for _, path := range []string{"apis", "apis/hello/versions/1/source", "apis/hello/logs?limit=1000", "apis/hello/logs?follow=true&limit=1000", "none"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, returned := knock(t, f.Local(), "GET /api/v1/"+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
				time.Sleep(6 * time.Minute)
				select {
				case <-returned:
				default:
					t.Error("its answer is kept")
				}
				if text, err := io.ReadAll(conn); strings.HasSuffix(string(text), "\r\n0\r\n\r\n") {
					t.Errorf("%d bytes have come, as if they were all: %v", len(text), err)
				}
			})
		})
	}
}

// TestATailIsTakenInABoundedTime reads a line a second: its lines are in memory as long.
func TestATailIsTakenInABoundedTime(t *testing.T) {
	f := newFixture(t)
	api := f.api(t, "hello")
	for range 1000 {
		f.print(t, api.ID, logs.Line{Stream: "stdout", Text: strings.Repeat("y", 100)})
	}
	synctest.Test(t, func(t *testing.T) {
		conn, returned := knock(t, f.Local(), "GET /api/v1/apis/hello/logs?limit=1000 HTTP/1.1\r\nHost: a\r\n\r\n")
		began := time.Now()
		buffer := make([]byte, 100)
		for {
			time.Sleep(time.Second)
			if _, err := conn.Read(buffer); err != nil {
				break
			}
		}
		<-returned
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("it was cut after %v", took)
		}
	})
}

// TestFollowingEndsInOrder: nothing was printed for an hour, and the end of the answer arrives all the same.
func TestFollowingEndsInOrder(t *testing.T) {
	f := newFixture(t)
	f.api(t, "hello")
	synctest.Test(t, func(t *testing.T) {
		until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		conn, _ := knock(t, f.Local(), "GET /api/v1/apis/hello/logs?follow=true&until="+until+" HTTP/1.1\r\nHost: a\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if text, err := io.ReadAll(response.Body); err != nil || len(text) > 0 {
			t.Errorf("%q, %v", text, err)
		}
	})
}

// TestBodiesThatDoNotComeAreNotWaitedFor announces a body that never comes: of a stranger it is not asked for, of others it has a minute.
func TestBodiesThatDoNotComeAreNotWaitedFor(t *testing.T) {
	f := newFixture(t)
	secret := f.secretOf(t, `{}`)
	for name, c := range map[string]struct {
		secret, path string
		status       int
		most         time.Duration
	}{
		"a stranger's": {"abt_wrong", "users", 401, time.Second},
		"a body":       {secret, "users", 400, 80 * time.Second},
		"of nothing":   {secret, "none", 404, 80 * time.Second},
		"unasked":      {secret, "apis/none/sleep", 404, 80 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				conn, _ := knock(t, f.Remote(), fmt.Sprintf("POST /api/v1/%s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Length: 99\r\n\r\n", c.path, c.secret))
				reader := bufio.NewReader(conn)
				response, err := http.ReadResponse(reader, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if took := time.Since(began); response.StatusCode != c.status || took > c.most {
					t.Errorf("status %d after %v", response.StatusCode, took)
				}
				if _, err := reader.ReadByte(); err == nil {
					t.Error("there is more")
				}
				if took := time.Since(began); took > 4*time.Minute {
					t.Errorf("the connection is kept for %v", took)
				}
			})
		})
	}
}
