package netstack_test

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"apibuilder/egress"
	"apibuilder/internal/nettest"
)

// TestStalledConnections has a program read fast at first, and then not at all: of the first connections the kernel may hold what it likes
// then, of the others little. It is the same when the program sends, and the server does not read.
func TestStalledConnections(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	const host, open, fast, most = "93.184.216.34", 40, 100 << 20, 1 << 20
	w := nettest.NewWorld(t, host+"/32")
	l := w.Listen(hostPort(host, 443))
	in := enter(t, egress.Config{Ceiling: &egress.Ceiling{Most: parse(t, "internet")}}, "internet")
	for range open - 1 {
		both(t, in, l, host)
	}
	conn, server := both(t, in, l, host)
	for name, way := range map[string]struct{ from, to net.Conn }{"to the program": {server, conn}, "to the server": {conn, server}} {
		t.Run(name, func(t *testing.T) {
			_ = way.from.(*net.TCPConn).SetWriteBuffer(64 << 10)
			_ = way.to.(*net.TCPConn).SetReadBuffer(64 << 10)
			received := make(chan error, 1)
			go func() {
				_, err := io.CopyN(io.Discard, way.to, fast)
				received <- err
			}()
			_ = way.from.SetWriteDeadline(time.Now().Add(time.Minute))
			if _, err := way.from.Write(make([]byte, fast)); err != nil {
				t.Fatal(err)
			}
			if err := <-received; err != nil {
				t.Fatal(err)
			}
			if n := fill(t, way.from, rand.NewChaCha8([32]byte{1}), sha256.New(), 64<<20); n > most {
				t.Errorf("%d KiB are on the way", n>>10)
			} else {
				t.Logf("%d KiB are on the way", n>>10)
			}
		})
	}
}
