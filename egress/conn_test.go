package egress

import (
	"fmt"
	"io"
	"testing"
	"time"
)

func TestWritesThatDoNotWait(t *testing.T) {
	l, port, ceiling := listen(t)
	gate := NewGate(Config{Ceiling: ceiling})
	guard, _ := bind(t, gate, fmt.Sprintf("127.0.0.1:%d", port))
	conn, err := guard.Dial(t.Context(), Destination{Addr: loopback, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	sent := fillNow(t, conn)
	waited := make(chan error, 1)
	go func() { waited <- conn.Writable() }()
	if _, err := io.CopyN(io.Discard, server, int64(sent)); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Errorf("a connection that was read from: %v", err)
	}
	if r := gate.Report("api"); r.Sent != int64(sent) {
		t.Errorf("%d bytes of %d are counted", r.Sent, sent)
	}
	fillNow(t, conn)
	go func() { waited <- conn.Writable() }()
	conn.Abort()
	if err := <-waited; err == nil {
		t.Error("a closed connection may be written to")
	}
	if _, err := conn.WriteNow([]byte("x")); err == nil {
		t.Error("a closed connection is written to")
	}
	_ = server.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, server); err == nil {
		t.Error("an aborted connection ends as a finished one")
	}
}

// fillNow writes until nothing more is taken, and returns how much was.
func fillNow(t *testing.T, conn *Conn) (sent int) {
	t.Helper()
	_ = conn.conn.SetWriteBuffer(64 << 10)
	for b := make([]byte, 64<<10); ; {
		n, err := conn.WriteNow(b)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return sent
		}
		conn.Wrote(n)
		sent += n
	}
}
