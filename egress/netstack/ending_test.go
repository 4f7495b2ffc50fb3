package netstack_test

import (
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"apibuilder/egress"
	"apibuilder/egress/netstack"
	"apibuilder/internal/nettest"
)

// TestEnding has programs and servers end connections by halves and go away, while the other side says and does nothing.
func TestEnding(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	netstack.SetProgramIdle(300 * time.Millisecond)
	const host, six = "93.184.216.34", "2606:2800::1"
	w := nettest.NewWorld(t, host+"/32", six+"/128")
	l := w.Listen(host + ":443")
	others := map[string]string{host: six, six: host}
	listeners := map[string]net.Listener{host: l, six: w.Listen(hostPort(six, 443))}
	cfg := egress.Config{Ceiling: &egress.Ceiling{Most: parse(t, "internet")}}
	t.Run("a reset after the end", func(t *testing.T) {
		in := enter(t, cfg, "internet")
		conn, server := both(t, in, l, host)
		_ = conn.(*net.TCPConn).CloseWrite()
		if n, err := io.Copy(io.Discard, server); n != 0 || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
		reset(conn)
		in.closes(0)
	})
	t.Run("a reset while the server does not read", func(t *testing.T) {
		in := enter(t, cfg, "internet")
		conn, _ := both(t, in, l, host)
		fill(t, conn, rand.NewChaCha8([32]byte{1}), sha256.New(), 64<<20)
		reset(conn)
		in.closes(0)
	})
	t.Run("a program that closed", func(t *testing.T) {
		in := enter(t, cfg, "internet")
		in.do(func() {
			if err := os.WriteFile("/proc/sys/net/ipv4/tcp_fin_timeout", []byte("1"), 0); err != nil {
				t.Error(err)
			}
		})
		kept, _ := both(t, in, l, host)
		conn, server := both(t, in, l, host)
		_ = conn.Close()
		in.closes(1)
		_ = server.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(server, endless{}); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the server sees %v", err)
		}
		if _, err := kept.Write([]byte("still there")); err != nil {
			t.Errorf("one that is kept open: %v", err)
		}
	})
	t.Run("a program that sent all and closed", func(t *testing.T) {
		in := enter(t, cfg, "internet")
		in.do(func() {
			if err := os.WriteFile("/proc/sys/net/ipv4/tcp_fin_timeout", []byte("1"), 0); err != nil {
				t.Error(err)
			}
		})
		const all = 8 << 20
		conn, server := both(t, in, l, host)
		_ = server.(*net.TCPConn).SetReadBuffer(128 << 10)
		go func() {
			_, _ = conn.Write(make([]byte, all))
			_ = conn.Close()
		}()
		arrived, piece := 0, make([]byte, 256<<10)
		for slowly := time.NewTicker(150 * time.Millisecond); ; <-slowly.C {
			_ = server.SetReadDeadline(time.Now().Add(10 * time.Second))
			n, err := io.ReadFull(server, piece)
			if arrived += n; err != nil {
				if !errors.Is(err, io.EOF) || arrived != all {
					t.Errorf("%d bytes of %d arrive at a server that takes its time: %v", arrived, all, err)
				}
				break
			}
		}
		in.closes(0)
	})
	for host, l := range listeners {
		t.Run("a change while nothing moves "+host, func(t *testing.T) {
			in := enter(t, cfg, "internet")
			conn, server := both(t, in, l, host)
			other := others[host]
			kept, keptServer := both(t, in, listeners[other], other)
			in.gate.Set("api", parse(t, hostPort(other, 443)+", "+hostPort(host, 444)))
			in.closes(1)
			resets(t, conn)
			_ = server.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the server sees %v", err)
			}
			go func() { _, _ = io.Copy(keptServer, keptServer) }()
			ping(t, kept)
			if _, err := in.connect(host, 443); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a new one: %v", err)
			}
			in.line(hostPort(host, 443) + " is not in the API's option egress")
		})
		t.Run("a change while the program does not read "+host, func(t *testing.T) {
			in := enter(t, cfg, "internet")
			conn, server := both(t, in, l, host)
			fill(t, server, rand.NewChaCha8([32]byte{2}), sha256.New(), 64<<20)
			in.gate.Set("api", parse(t, "none"))
			in.closes(0)
			resets(t, conn)
		})
		t.Run("a change after the server's end "+host, func(t *testing.T) {
			in := enter(t, cfg, "internet")
			conn, server := both(t, in, l, host)
			_ = server.(*net.TCPConn).CloseWrite()
			if n, err := io.Copy(io.Discard, conn); n != 0 || err != nil {
				t.Fatalf("%d bytes, %v", n, err)
			}
			in.gate.Set("api", parse(t, "none"))
			in.closes(0)
			_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.Copy(conn, endless{}); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
				t.Errorf("the program sees %v", err)
			}
		})
	}
	t.Run("ended ones that are not read", func(t *testing.T) {
		const count, each = 100, 3 << 20
		in := enter(t, cfg, "internet")
		before := inUse()
		var conns []net.Conn
		for range count {
			conn, server := both(t, in, l, host)
			conns = append(conns, conn)
			_ = conn.(*net.TCPConn).CloseWrite()
			_ = server.(*net.TCPConn).SetWriteBuffer(2 * each)
			_ = server.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if _, err := server.Write(make([]byte, each)); err != nil {
				t.Fatal(err)
			}
			_ = server.Close()
		}
		time.Sleep(time.Second) // nothing tells when the last of it is where it stays
		const most = 48 << 20   // 32 MiB, and what keeps it
		if now := inUse(); now > before+most {
			t.Errorf("%d MiB are held of connections that are not read", (now-before)>>20)
		} else {
			t.Logf("%d MiB are held", (now-before)>>20)
		}
		for _, conn := range conns[:count/2] {
			reset(conn)
		}
		for _, conn := range conns[count/2:] {
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if n, err := io.Copy(io.Discard, conn); n != each || err != nil {
				t.Errorf("%d bytes of %d arrived: %v", n, each, err)
			}
		}
		in.closes(0)
	})
}

// closes waits until no more connections than so many are open.
func (in *inside) closes(most int64) {
	in.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); in.gate.Report("api").Open > most; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			in.t.Fatalf("%d connections are open, not %d", in.gate.Report("api").Open, most)
		}
	}
}

func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

func resets(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the program sees %v", err)
	}
}
