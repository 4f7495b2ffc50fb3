package netstack_test

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"apibuilder/egress"
	"apibuilder/internal/nettest"
)

// fill writes random bytes in pieces of many sizes until the way is full, or most are written, and returns how many were.
func fill(t *testing.T, conn net.Conn, random *rand.ChaCha8, sum hash.Hash, most int) (written int) {
	t.Helper()
	sizes := rand.New(random)
	for written < most {
		piece := make([]byte, 1+sizes.IntN([]int{10, 3000, 300_000}[sizes.IntN(3)]))
		_, _ = random.Read(piece)
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := conn.Write(piece)
		sum.Write(piece[:n])
		written += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return written
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return written
}

// sendWhole sends most bytes to a side that does not read at first, says that it is all, and wants to see them arrive.
func sendWhole(t *testing.T, from, to net.Conn, random *rand.ChaCha8, most int) (sent int) {
	t.Helper()
	sum := sha256.New()
	sent = fill(t, from, random, sum, most)
	if sent >= most {
		t.Fatalf("%d bytes are on the way to a side that does not read", sent)
	}
	got, received := sha256.New(), make(chan int64)
	go func() {
		n, _ := io.Copy(got, to)
		received <- n
	}()
	for sent < most {
		sent += fill(t, from, random, sum, most-sent)
	}
	_ = from.(*net.TCPConn).CloseWrite()
	if n := <-received; n != int64(sent) || string(got.Sum(nil)) != string(sum.Sum(nil)) {
		t.Errorf("%d bytes of %d arrived, or others", n, sent)
	}
	return sent
}

// TestBulk sends much to a server that does not read at first, so that every buffer on the way is full in between.
func TestBulk(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	const most = 64 << 20
	w := nettest.NewWorld(t, "93.184.216.34/32", "2606:2800::1/128")
	before := goleak.IgnoreCurrent()
	cfg := egress.Config{Ceiling: &egress.Ceiling{Most: parse(t, "internet")}}
	for _, host := range []string{"93.184.216.34", "2606:2800::1"} {
		l := w.Listen(net.JoinHostPort(host, "443"))
		t.Run("arrives at "+host, func(t *testing.T) {
			in, random := enter(t, cfg, "internet"), rand.NewChaCha8([32]byte{1})
			conn, server := both(t, in, l, host)
			sent := sendWhole(t, conn, server, random, most)
			if r := in.gate.Report("api"); r.Sent != int64(sent) {
				t.Errorf("%d bytes of %d are counted", r.Sent, sent)
			}
		})
		t.Run("ends towards "+host, func(t *testing.T) {
			in, random, sum := enter(t, cfg, "internet"), rand.NewChaCha8([32]byte{2}), sha256.New()
			conn, _ := both(t, in, l, host)
			if sent := fill(t, conn, random, sum, most); sent >= most {
				t.Fatalf("%d bytes are on the way to a server that does not read", sent)
			}
			in.gate.Set("api", egress.Policy{})
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("a full connection that is not allowed any more: %v", err)
			}
		})
		_ = l.Close()
	}
	goleak.VerifyNone(t, before)
}

// both are the two ends of a connection.
func both(t *testing.T, in *inside, l net.Listener, host string) (conn, server net.Conn) {
	t.Helper()
	conn, err := in.connect(host, 443)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return conn, server
}
