package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// connected is the two ends of a connection, ours from l; both end with the test.
func connected(t *testing.T, l net.Listener) (ours, theirs net.Conn) {
	t.Helper()
	theirs, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Close() })
	if ours, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	return ours, theirs
}

// socketPairs calls f with the two ends of connections of both kinds, the first of them as the package has it where own, else as net has it.
func socketPairs(t *testing.T, own bool, f func(t *testing.T, ours, theirs net.Conn)) {
	t.Helper()
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		t.Run(network, func(t *testing.T) {
			l, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if own {
				l = socketListener{l}
			}
			ours, theirs := connected(t, l)
			if _, is := ours.(*socket); is != own {
				t.Fatalf("accepted a %T", ours)
			}
			f(t, ours, theirs)
		})
	}
}

// TestSocketSaysWhatNetSays compares what is returned where nothing can be read or written.
func TestSocketSaysWhatNetSays(t *testing.T) {
	said := func(own bool) map[string]string {
		all := make(map[string]string)
		note := func(what string, c net.Conn, n int, err error) {
			text := fmt.Sprint(err)
			for _, a := range []net.Addr{c.LocalAddr(), c.RemoteAddr()} {
				if a.String() != "" {
					text = strings.ReplaceAll(text, a.String(), "ADDRESS")
				}
			}
			var network net.Error
			all[c.LocalAddr().Network()+": "+what] = fmt.Sprint(n, " ", text, " timeout ", errors.As(err, &network) && network.Timeout(),
				" EOF ", err == io.EOF, " closed ", errors.Is(err, net.ErrClosed), " deadline ", errors.Is(err, os.ErrDeadlineExceeded)) //nolint:errorlint // readers compare
		}
		p := make([]byte, 8)
		socketPairs(t, own, func(_ *testing.T, ours, theirs net.Conn) {
			n, err := ours.Read(nil)
			note("read nothing", ours, n, err)
			n, err = ours.Write(nil)
			note("write nothing", ours, n, err)
			_ = ours.SetReadDeadline(time.Now().Add(time.Millisecond))
			n, err = ours.Read(p)
			note("read too long", ours, n, err)
			_ = ours.SetReadDeadline(time.Time{})
			_ = ours.SetWriteDeadline(time.Now().Add(-time.Second))
			n, err = ours.Write(p)
			note("write too late", ours, n, err)
			_ = ours.SetWriteDeadline(time.Time{})
			_ = theirs.(interface{ CloseWrite() error }).CloseWrite()
			n, err = ours.Read(p)
			note("read the end", ours, n, err)
			n, err = ours.Write(p)
			note("write after the end", ours, n, err)
			note("end", ours, 0, ours.(interface{ CloseWrite() error }).CloseWrite())
			n, err = ours.Write(p)
			note("write after our end", ours, n, err)
			_ = ours.Close()
			n, err = ours.Read(p)
			note("read when closed", ours, n, err)
			n, err = ours.Write(p)
			note("write when closed", ours, n, err)
		})
		socketPairs(t, own, func(_ *testing.T, ours, theirs net.Conn) {
			if tcp, ok := theirs.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_, _ = ours.Write(p) // what is not read makes a Unix socket's close a reset
			_ = theirs.Close()
			n, err := ours.Read(p)
			note("read a reset", ours, n, err)
			n, err = ours.Write(p)
			note("write after a reset", ours, n, err)
		})
		return all
	}
	want, got := said(false), said(true)
	if len(want) != 24 || len(got) != len(want) {
		t.Errorf("%d and %d answers", len(want), len(got))
	}
	for what, says := range want {
		if got[what] != says {
			t.Errorf("%s: %s\nnet:  %s", what, got[what], says)
		}
	}
}

// TestSocketMovesAll has more go both ways at once than the system takes, in calls of all sizes.
func TestSocketMovesAll(t *testing.T) {
	sent := make([]byte, 20<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(sent)
	socketPairs(t, true, func(t *testing.T, ours, theirs net.Conn) {
		s := ours.(*socket)
		var group sync.WaitGroup
		group.Go(func() {
			sizes := rand.New(rand.NewPCG(1, 2))
			for at := 0; at < len(sent); {
				most := len(sent) - at
				a, b := min(most, sizes.IntN(4<<10)), min(most, 1<<sizes.IntN(20))
				b = min(b, most-a)
				n, err := s.write(sent[at:at+a], sent[at+a:at+a+b])
				if n != a+b || err != nil {
					t.Errorf("%d of %d bytes and %d, %v", n, a, b, err)
					return
				}
				at += n
			}
			if err := s.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		group.Go(func() {
			if n, err := theirs.Write(sent); n != len(sent) || err != nil {
				t.Error(n, err)
			}
			_ = theirs.(interface{ CloseWrite() error }).CloseWrite()
		})
		for _, c := range []net.Conn{ours, theirs} {
			group.Go(func() {
				got, err := io.ReadAll(c)
				if err != nil || !bytes.Equal(got, sent) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		}
		group.Wait()
	})
}

// TestSocketCutsAWriteShort is a deadline of a write of two parts that goes nowhere: it tells how many bytes did, and the rest can follow.
func TestSocketCutsAWriteShort(t *testing.T) {
	sent := make([]byte, 24<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(sent)
	socketPairs(t, true, func(t *testing.T, ours, theirs net.Conn) {
		s := ours.(*socket)
		_ = s.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		n, err := s.write(sent[:100], sent[100:])
		if n <= 0 || n >= len(sent) || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d bytes, %v", n, err)
		}
		var group sync.WaitGroup
		group.Go(func() {
			_ = s.SetWriteDeadline(time.Time{})
			if more, err := s.Write(sent[n:]); more != len(sent)-n || err != nil {
				t.Error(more, err)
			}
			_ = s.Close()
		})
		if got, err := io.ReadAll(theirs); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		group.Wait()
	})
}

// TestSocketIsClosedUnderCalls has reads and writes that wait end with the connection.
func TestSocketIsClosedUnderCalls(t *testing.T) {
	socketPairs(t, true, func(t *testing.T, ours, _ net.Conn) {
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() {
				if n, err := ours.Read(make([]byte, 1)); n != 0 || !errors.Is(err, net.ErrClosed) {
					t.Errorf("read %d bytes, %v", n, err)
				}
			})
			group.Go(func() {
				if _, err := ours.Write(make([]byte, 24<<20)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("write: %v", err)
				}
			})
		}
		s := ours.(*socket)
		for _, call := range []*sync.Mutex{&s.in.mu, &s.out.mu} {
			for call.TryLock() { // until somebody is in it
				call.Unlock()
				time.Sleep(time.Millisecond)
			}
		}
		if err := ours.Close(); err != nil {
			t.Error(err)
		}
		group.Wait()
	})
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestLittleWaitsForWhoDoesNotRead has a consumer read quickly, until the kernel would take megabytes for it, and then stop.
func TestLittleWaitsForWhoDoesNotRead(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, theirs := connected(t, socketListener{l})
	if err := theirs.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_, _ = io.CopyN(io.Discard, theirs, 32<<20)
	}()
	for p, full := make([]byte, 32<<10), false; !full; {
		last := isClosed(stopped) // else what waits is for a consumer who reads, slowly
		_ = ours.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		_, err := ours.Write(p)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		full = last && err != nil
	}
	waiting := 0
	if err := ours.(*socket).raw.Control(func(fd uintptr) { waiting, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if waiting > 2*unsentBytes {
		t.Errorf("%d bytes wait for a consumer who does not read, want %d at most", waiting, 2*unsentBytes)
	}
}

// TestSocketResets breaks connections off: what the other side reads is no end.
func TestSocketResets(t *testing.T) {
	socketPairs(t, true, func(t *testing.T, ours, theirs net.Conn) {
		if err := ours.(*socket).reset(); err != nil {
			t.Error(err)
		}
		_, err := theirs.Read(make([]byte, 1))
		if end := err == io.EOF; err == nil || end != (ours.LocalAddr().Network() == "unix") { //nolint:errorlint // a reader's end
			t.Errorf("the other side read %v", err)
		}
	})
}

// TestOthersAreNoSockets is of connections that have no descriptor.
func TestOthersAreNoSockets(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if newSocket(a) != a {
		t.Error("a pipe is wrapped")
	}
}
