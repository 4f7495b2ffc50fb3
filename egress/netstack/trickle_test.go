package netstack_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"apibuilder/egress"
	"apibuilder/internal/nettest"
)

// TestSmallPiecesThatAreNotRead has a server send a byte at a time to a program that does not read: what the stack keeps of each is hundreds
// of times as much. All of it arrives when the program reads, also what comes after in one piece.
func TestSmallPiecesThatAreNotRead(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	const most, atOnce = 100_000, 4 << 20
	w := nettest.NewWorld(t, "93.184.216.34/32", "2606:2800::1/128")
	cfg := egress.Config{Ceiling: &egress.Ceiling{Most: parse(t, "internet")}}
	for _, host := range []string{"93.184.216.34", "2606:2800::1"} {
		l := w.Listen(hostPort(host, 443))
		t.Run(host, func(t *testing.T) {
			in := enter(t, cfg, "internet")
			conn, server := both(t, in, l, host)
			_ = conn.(*net.TCPConn).SetReadBuffer(1)
			before, sent := inUse(), trickle(t, in, server, most)
			if held := int64(inUse()) - int64(before); held > 16<<20 {
				t.Errorf("%d MiB are held of %d bytes that are not read", held>>20, sent)
			} else {
				t.Logf("%d KiB are held of %d bytes", held>>10, sent)
			}
			go func() {
				_, _ = server.Write(bytes.Repeat([]byte("y"), atOnce))
				_ = server.Close()
			}()
			_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
			got, err := io.ReadAll(conn)
			if want := sent + atOnce; len(got) != want || err != nil || bytes.Count(got[:sent], []byte("x")) != sent {
				t.Errorf("%d bytes of %d arrived, or others: %v", len(got), want, err)
			}
		})
	}
}

// trickle sends bytes, each once the one before has been taken, until none is for a while, or most are sent.
func trickle(t *testing.T, in *inside, server net.Conn, most int) (sent int) {
	t.Helper()
	for sent < most {
		if _, err := server.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		sent++
		for began := time.Now(); in.gate.Report("api").Received < int64(sent); {
			if time.Since(began) > time.Second {
				return sent
			}
		}
	}
	return sent
}
