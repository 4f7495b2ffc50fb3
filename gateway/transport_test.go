package gateway

import (
	"errors"
	"io"
	"net"
	"testing"
)

// Writes to a program that has closed seem to succeed, so that its answer is read; after our own Close they fail.
func TestProgramConnOutlivesItsReader(t *testing.T) {
	l := listenUnix(t)
	defer l.Close()
	dialed, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	program, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(program, "answer")
	_ = program.Close()
	called := false
	hook := func() { called = true }
	conn := &programConn{Conn: dialed}
	conn.onClose.Store(&hook)
	for range 3 {
		if n, err := io.WriteString(conn, "body"); n != 4 || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	if text, _ := io.ReadAll(conn); string(text) != "answer" {
		t.Errorf("read %q", text)
	}
	if err := conn.Close(); err != nil || !called {
		t.Errorf("close: %v, hook called: %v", err, called)
	}
	if _, err := io.WriteString(conn, "body"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
}
