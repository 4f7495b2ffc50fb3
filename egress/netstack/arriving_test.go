package netstack_test

import (
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/egress"
	"apibuilder/internal/nettest"
)

// TestArrives has a server send in pieces of many sizes to a program that does not read at first, end in every way there is, and send what
// is urgent in between.
func TestArrives(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	const most = 64 << 20
	w := nettest.NewWorld(t, "93.184.216.34/32", "2606:2800::1/128")
	cfg := egress.Config{Ceiling: &egress.Ceiling{Most: parse(t, "internet")}}
	for _, host := range []string{"93.184.216.34", "2606:2800::1"} {
		l := w.Listen(net.JoinHostPort(host, "443"))
		t.Run("all of it from "+host, func(t *testing.T) {
			in, random := enter(t, cfg, "internet"), rand.NewChaCha8([32]byte{3})
			conn, server := both(t, in, l, host)
			sent := sendWhole(t, server, conn, random, most)
			if r := in.gate.Report("api"); r.Received != int64(sent) {
				t.Errorf("%d bytes of %d are counted", r.Received, sent)
			}
			if _, err := conn.Write([]byte("still")); err != nil {
				t.Errorf("after the server said that it has no more: %v", err)
			}
		})
		t.Run("a reset from "+host, func(t *testing.T) {
			in := enter(t, cfg, "internet")
			conn, server := both(t, in, l, host)
			_ = server.(*net.TCPConn).SetLinger(0)
			_ = server.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the program sees %v", err)
			}
		})
		t.Run("an end while "+host+" waits", func(t *testing.T) {
			in, random, sum := enter(t, cfg, "internet"), rand.NewChaCha8([32]byte{4}), sha256.New()
			conn, server := both(t, in, l, host)
			fill(t, server, random, sum, most)
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
			_ = server.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.Copy(server, endless{}); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the server sees %v", err)
			}
		})
		t.Run("urgent from "+host, func(t *testing.T) {
			in := enter(t, cfg, "internet")
			conn, server := both(t, in, l, host)
			raw, err := server.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			for range 100 { // the urgent byte is not of the stream: tcp(7)
				_, err = server.Write([]byte("plain"))
				_ = raw.Write(func(fd uintptr) bool {
					err = errors.Join(err, unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil))
					return true
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			_ = server.(*net.TCPConn).CloseWrite()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			if n, err := io.Copy(io.Discard, conn); err != nil || n < 500 {
				t.Errorf("%d bytes arrived: %v", n, err)
			}
		})
		_ = l.Close()
	}
	t.Run("idle ones hold little", func(t *testing.T) {
		const count = 50
		l := w.Listen("93.184.216.34:443")
		in := enter(t, cfg, "internet")
		var before uint64
		for i := range count + 1 {
			conn, server := both(t, in, l, "93.184.216.34")
			written := make(chan error, 1)
			go func() { // what is on the way holds less than a megabyte now and then
				_, err := server.Write(make([]byte, 1<<20))
				written <- err
			}()
			_, err := io.ReadFull(conn, make([]byte, 1<<20))
			if err := errors.Join(err, <-written); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				before = inUse()
			}
		}
		if now := inUse(); now > before+count*64<<10 {
			t.Errorf("each connection over which a megabyte came holds %d KiB", (now-before)/count>>10)
		} else {
			t.Logf("each holds %d KiB", int64(now-before)/count>>10)
		}
	})
}

// inUse is the memory that is used, without what the collector has not taken yet.
func inUse() uint64 {
	for range 3 { // pools keep things for two cycles
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// endless is a reader that always has something.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }
