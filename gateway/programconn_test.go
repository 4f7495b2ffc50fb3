package gateway

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

const saidUnasked = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"

// scriptedProgram hands each connection that a Transport makes to play, with its number. Dialing is over when play has returned what
// goes on with it.
func scriptedProgram(t *testing.T, play func(n int, c net.Conn) (goOn func())) *Transport {
	t.Helper()
	l := listenUnix(t)
	n := 0
	tr := NewTransport(func(ctx context.Context) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", l.Addr().String())
		if err != nil {
			return nil, err
		}
		other, err := l.Accept()
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = other.Close() })
		n++
		if goOn := play(n, other); goOn != nil {
			go goOn()
		}
		return conn, nil
	})
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = l.Close()
	})
	return tr
}

// answerOne reads the head of a request and answers it.
func answerOne(c net.Conn, text string) {
	head, buffer := []byte(nil), make([]byte, 4096)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		n, err := c.Read(buffer)
		if err != nil {
			return
		}
		head = append(head, buffer[:n]...)
	}
	_, _ = io.WriteString(c, text)
}

// Between two requests a program may say something or leave. The next request, which may not be repeated, goes to another connection.
func TestWhatAProgramSaysUnaskedIsNoAnswer(t *testing.T) {
	for name, unasked := range map[string]func(net.Conn){
		"speaks": func(c net.Conn) { _, _ = io.WriteString(c, saidUnasked) },
		"leaves": func(c net.Conn) { _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			var first net.Conn
			tr := scriptedProgram(t, func(n int, c net.Conn) func() {
				if n == 1 {
					first = c
				}
				return func() { answerOne(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nasked") }
			})
			if _, text, err := fetch(t, tr, http.MethodGet, "/"); err != nil || text != "asked" {
				t.Fatalf("first: %q, %v", text, err)
			}
			unasked(first)
			if _, text, err := fetch(t, tr, http.MethodPost, "/"); err != nil || text != "asked" {
				t.Fatalf("second: %q, %v", text, err)
			}
		})
	}
}

// What was said on a new connection before the request is read at once: nothing may wait for more to come.
func TestAProgramThatSpeaksFirstIsHeard(t *testing.T) {
	tr := scriptedProgram(t, func(_ int, c net.Conn) func() {
		_, _ = io.WriteString(c, saidUnasked)
		return nil
	})
	heard := make(chan string, 1)
	go func() {
		_, text, err := fetch(t, tr, http.MethodGet, "/")
		if err != nil {
			text = err.Error()
		}
		heard <- text
	}()
	select {
	case text := <-heard:
		if text != "forged" {
			t.Fatal(text)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was read")
	}
}

func TestARequestLargerThanTheSocketHoldsIsSentWhole(t *testing.T) {
	request := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	got := make(chan []byte, 1)
	tr := scriptedProgram(t, func(_ int, c net.Conn) func() {
		return func() {
			all := make([]byte, len(request))
			_, _ = io.ReadFull(c, all)
			got <- all
		}
	})
	conn, err := tr.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := newProgramConn(conn, tr).exchange(request); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(<-got, request) {
		t.Fatal("something else arrived")
	}
}
