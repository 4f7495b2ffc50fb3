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

// TestSandboxesTogether has many sandboxes not read what servers send: what is held of all of them is bounded, and each goes on.
func TestSandboxesTogether(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	const host, count = "93.184.216.34", 8
	w := nettest.NewWorld(t, host+"/32")
	l := w.Listen(hostPort(host, 443))
	gate := egress.NewGate(egress.Config{Ceiling: &egress.Ceiling{Most: parse(t, "internet")}, Buffers: 2 << 20})
	before, sent := inUse(), 0
	var all []net.Conn
	for i := range count {
		in := enterBy(t, gate, "internet")
		conn, server := both(t, in, l, host)
		sent += fill(t, server, rand.NewChaCha8([32]byte{byte(i)}), sha256.New(), 64<<20)
		_ = server.(*net.TCPConn).CloseWrite()
		all = append(all, conn)
	}
	if held := int64(inUse()) - int64(before); held > 8<<20 {
		t.Errorf("%d MiB are held of what %d sandboxes do not read", held>>20, count)
	} else {
		t.Logf("%d KiB are held", held>>10)
	}
	for _, conn := range all {
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := io.Copy(io.Discard, conn)
		if err != nil {
			t.Error(err)
		}
		sent -= int(n)
	}
	if sent != 0 {
		t.Errorf("%d bytes did not arrive", sent)
	}
}
