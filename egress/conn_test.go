package egress

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// meet is a connection of a guard to a listener, and the listener's end of it.
func meet(t *testing.T, guard *Guard, l net.Listener, port uint16) (*Conn, net.Conn) {
	t.Helper()
	conn, err := guard.Dial(t.Context(), Destination{Addr: loopback, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return conn, server
}

func TestWritesThatDoNotWait(t *testing.T) {
	l, port, ceiling := listen(t)
	gate := NewGate(Config{Ceiling: ceiling})
	guard, _ := bind(t, gate, fmt.Sprintf("127.0.0.1:%d", port))
	conn, server := meet(t, guard, l, port)
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

// TestEndWhileBandwidthIsAwaited has many connections wait for their turn for most of a minute, and end at once when they are not allowed any more.
func TestEndWhileBandwidthIsAwaited(t *testing.T) {
	l, port, ceiling := listen(t)
	gate := NewGate(Config{Ceiling: ceiling, Limits: Limits{Bandwidth: mostAtOnce}})
	guard, _ := bind(t, gate, fmt.Sprintf("127.0.0.1:%d", port))
	go func() {
		for {
			server, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, server); _ = server.Close() }()
		}
	}()
	var all sync.WaitGroup
	for range 40 {
		conn, err := guard.Dial(t.Context(), Destination{Addr: loopback, Port: port})
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			defer conn.Close()
			if _, err := conn.Write(make([]byte, 4*mostAtOnce)); err == nil {
				t.Error("all is written at once")
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // until they wait; where some do not yet, the others do
	began := time.Now()
	gate.Set("api", Policy{})
	all.Wait()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("they ended after %v", took)
	}
}

// fillNow writes until nothing more is taken, and returns how much was.
func fillNow(t *testing.T, conn *Conn) (sent int) {
	t.Helper()
	_ = conn.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10) })
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
