package cli

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

// TestStrangersHaveBoundedHeaders: nobody knows who sends one before it has come.
func TestStrangersHaveBoundedHeaders(t *testing.T) {
	s := &server{log: zap.NewNop(), failed: make(chan error, 1)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.serveAdmin("management", l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for size, want := range map[int]int{32 << 10: http.StatusOK, 128 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nX-Long: "+strings.Repeat("x", size)+"\r\n\r\n") // it may be cut off
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%d bytes: %d, want %d", size, response.StatusCode, want)
		}
	}
	if err := s.closeControl(t.Context()); err != nil {
		t.Errorf("close the management API: %v", err)
	}
}

// TestWhoDoesNotReadHoldsUpNoTakeOver: a log that is followed in a pager, say, or a deploy that never arrives.
func TestWhoDoesNotReadHoldsUpNoTakeOver(t *testing.T) {
	s := &server{log: zap.NewNop(), failed: make(chan error, 1)}
	s.control.grace = 50 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{}, 2)
	s.serveAdmin("management", l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}))
	for _, head := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.Copy(conn, strings.NewReader(head)); err != nil {
			t.Fatal(err)
		}
		<-begun
		if strings.HasPrefix(head, "GET") {
			if _, err := bufio.NewReader(conn).ReadByte(); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.closeControl(ctx); err != nil {
		t.Errorf("close the management API: %v", err)
	}
}

// TestATakeOverEndsTheDeployOfTheExample, which nobody asked for by the management API.
func TestATakeOverEndsTheDeployOfTheExample(t *testing.T) {
	s := &server{log: zap.NewNop()}
	s.control.onStop("management", func(context.Context) error { return nil })
	runs, ended := make(chan struct{}), false
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.underControl(t.Context(), "test", func(ctx context.Context) {
			close(runs)
			<-ctx.Done()
			time.Sleep(50 * time.Millisecond)
			ended = true
		})
	}()
	<-runs
	if err := s.closeControl(t.Context()); err != nil || !ended {
		t.Errorf("it goes on; %v", err)
	}
	<-done
	s.underControl(t.Context(), "test", func(context.Context) { t.Error("it runs although another server takes over") })
}
