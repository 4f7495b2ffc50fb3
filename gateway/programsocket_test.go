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

	"golang.org/x/sys/unix"

	"apibuilder/rawcall"
)

// programPair is a connection to a program, and the program's end of it.
func programPair(t *testing.T) (ours *socket, poll *programPoll, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs, conn := connected(t, l)
	c := newProgramSocket(conn.(*net.UnixConn))
	t.Cleanup(func() { _ = c.Close() })
	ours = c.(*socket)
	return ours, ours.Conn.(*programSocket).poll, theirs
}

// polledFor lists what every epoll instance of this process asks of a descriptor (proc_pid_fdinfo(5)).
func polledFor(t *testing.T, fd int) (events []uint32) {
	t.Helper()
	all, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	for _, file := range all {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the list's own
		}
		for line := range strings.Lines(string(text)) {
			var of int
			var asked uint32
			if n, _ := fmt.Sscanf(line, "tfd: %d events: %x", &of, &asked); n == 2 && of == fd {
				events = append(events, asked)
			}
		}
	}
	return events
}

// TestAProgramsReadsWakeNobody looks at what the kernel is to tell of a connection: room for writing only once a write has found none.
func TestAProgramsReadsWakeNobody(t *testing.T) {
	ours, poll, theirs := programPair(t)
	const input = uint32(unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET)
	asked := func() uint32 {
		t.Helper()
		all := polledFor(t, int(poll.fd))
		if len(all) != 1 {
			t.Fatalf("%d epoll instances have the connection: %x", len(all), all)
		}
		return all[0] &^ (unix.EPOLLERR | unix.EPOLLHUP)
	}
	if got := asked(); got != input {
		t.Fatalf("asked for %x", got)
	}
	if n, err := ours.Write([]byte("a request")); n != 9 || err != nil {
		t.Fatal(n, err)
	}
	p := make([]byte, 16)
	if n, err := theirs.Read(p); n != 9 || err != nil {
		t.Fatal(n, err)
	}
	ready := func() (is bool) {
		t.Helper()
		if err := poll.raw.Control(func(input uintptr) { is = rawcall.Ready(input, unix.POLLIN) }); err != nil {
			t.Fatal(err)
		}
		return is
	}
	if ready() {
		t.Error("ready after the program has read")
	}
	if _, err := theirs.Write([]byte("an answer")); err != nil {
		t.Fatal(err)
	}
	if !ready() {
		t.Error("not ready after the program has answered")
	}
	if n, err := ours.Read(p); string(p[:n]) != "an answer" || err != nil {
		t.Errorf("%q, %v", p[:n], err)
	}
	if poll.room != nil {
		t.Error("the poller was told of the socket although there was always room")
	}
}

// TestAProgramThatIsSlowToRead takes more than the system holds, three times, while it answers.
func TestAProgramThatIsSlowToRead(t *testing.T) {
	ours, poll, theirs := programPair(t)
	sent := make([]byte, 6<<20)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(sent)
	for turn := range 3 {
		var group sync.WaitGroup
		group.Go(func() {
			if n, err := ours.write(sent[:1000], sent[1000:]); n != len(sent) || err != nil {
				t.Errorf("turn %d: wrote %d bytes, %v", turn, n, err)
			}
		})
		group.Go(func() {
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(theirs, got); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("turn %d: the program read something else, %v", turn, err)
			}
			if _, err := theirs.Write(sent); err != nil {
				t.Errorf("turn %d: %v", turn, err)
			}
		})
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(ours, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("turn %d: read something else, %v", turn, err)
		}
		group.Wait()
	}
	if poll.room == nil {
		t.Error("no write found that there was no room")
	}
	if err := theirs.Close(); err != nil {
		t.Error(err)
	}
	if n, err := ours.Read(make([]byte, 1)); n != 0 || err != io.EOF { //nolint:errorlint // readers compare
		t.Errorf("the end: %d bytes, %v", n, err)
	}
	if _, err := ours.Write(sent); !errors.Is(err, unix.EPIPE) {
		t.Errorf("after the end: %v", err)
	}
}

// TestAProgramsConnectionIsClosedUnderCalls has reads and writes that wait end with the connection, and nothing of it is left.
func TestAProgramsConnectionIsClosedUnderCalls(t *testing.T) {
	for turn := range 20 {
		ours, poll, _ := programPair(t)
		var of, left unix.Stat_t
		if err := unix.Fstat(int(poll.fd), &of); err != nil {
			t.Fatal(err)
		}
		waits := make(chan struct{}) // until a write has found no room
		var group sync.WaitGroup
		group.Go(func() {
			if n, err := ours.Read(make([]byte, 1)); n != 0 || !errors.Is(err, net.ErrClosed) {
				t.Errorf("read %d bytes, %v", n, err)
			}
		})
		group.Go(func() {
			var once sync.Once
			full := make([]byte, 1<<20)
			err := poll.Write(func(fd uintptr) bool {
				_, err := unix.Write(int(fd), full)
				if errors.Is(err, unix.EAGAIN) && turn%2 == 0 {
					once.Do(func() { close(waits) })
				}
				return err != nil && !errors.Is(err, unix.EAGAIN)
			})
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("write: %v", err)
			}
		})
		if turn%2 == 0 {
			<-waits
		}
		if err := ours.Close(); err != nil {
			t.Error(err)
		}
		group.Wait()
		if err := ours.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed again: %v", err)
		}
		if n, err := ours.Write([]byte("x")); n != 0 || !errors.Is(err, net.ErrClosed) || !strings.HasPrefix(err.Error(), "write unix") {
			t.Errorf("write after that: %d, %v", n, err)
		}
		if err := poll.Control(func(uintptr) { t.Error("control after that") }); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if err := unix.Fstat(int(poll.fd), &left); err == nil && left.Dev == of.Dev && left.Ino == of.Ino {
			t.Error("the socket is open")
		}
	}
}

// TestNoDescriptorsForAProgramsConnection has the process run out of them at each step: the connection is as net makes it then, and nothing
// else is left of it.
func TestNoDescriptorsForAProgramsConnection(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	mostProgramSockets() // which asks for the limit once
	const takes = 3
	for free := range takes + 1 {
		theirs, conn := connected(t, l)
		next, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(next)
		open := programSockets.Load()
		limit := before
		limit.Cur = uint64(next + free) //nolint:gosec // some tens
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		c := newProgramSocket(conn.(*net.UnixConn))
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
		if _, own := c.(*socket).Conn.(*programSocket); own != (free == takes) {
			t.Errorf("with %d more descriptors it is one of these: %v", free, own)
		}
		if free < takes {
			if after, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0); after != next || err != nil || programSockets.Load() != open {
				t.Errorf("with %d more descriptors the next one is %d in place of %d, %d are counted in place of %d", free, after, next, programSockets.Load(), open)
			} else {
				_ = unix.Close(after)
			}
		}
		if _, err := theirs.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 2)); n != 1 || err != nil {
			t.Errorf("with %d more descriptors: read %d bytes, %v", free, n, err)
		}
		if err := c.Close(); err != nil || programSockets.Load() != open {
			t.Errorf("with %d more descriptors: closed: %v, %d are counted in place of %d", free, err, programSockets.Load(), open)
		}
	}
}

// TestManyProgramConnectionsTakeFewDescriptors has no more epoll instances than there may be, and others again once one is closed.
func TestManyProgramConnectionsTakeFewDescriptors(t *testing.T) {
	defer func(before func() int64) { mostProgramSockets = before }(mostProgramSockets)
	open := programSockets.Load()
	mostProgramSockets = func() int64 { return open + 2 }
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	next := func() (own bool, c net.Conn) {
		t.Helper()
		theirs, conn := connected(t, l)
		c = newProgramSocket(conn.(*net.UnixConn))
		t.Cleanup(func() { _ = c.Close() })
		if _, err := theirs.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 2)); n != 1 || err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
		_, own = c.(*socket).Conn.(*programSocket)
		return own, c
	}
	var first net.Conn
	for i, want := range []bool{true, true, false, false} {
		own, c := next()
		if own != want {
			t.Errorf("connection %d is one of these: %v", i, own)
		}
		if first == nil {
			first = c
		}
	}
	_ = first.Close()
	_ = first.Close() // counts once
	for i, want := range []bool{true, false} {
		if own, _ := next(); own != want {
			t.Errorf("connection %d after one was closed: %v", i, own)
		}
	}
}
