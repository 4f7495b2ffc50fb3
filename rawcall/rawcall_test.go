package rawcall

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// pair is two connected sockets that do not wait.
func pair(t *testing.T) (a, b uintptr) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Close(fds[0])
		_ = unix.Close(fds[1])
	})
	return uintptr(fds[0]), uintptr(fds[1])
}

func TestBytesArriveInOrder(t *testing.T) {
	a, b := pair(t)
	if _, err := Recv(b, make([]byte, 1)); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("nothing is there: %v", err)
	}
	if Ready(b, unix.POLLIN) || !Ready(a, unix.POLLOUT) {
		t.Error("readiness of an empty socket")
	}
	n, err := Writev(a, [][]byte{[]byte("one"), nil, []byte("two")})
	if n != 6 || err != nil {
		t.Fatal(n, err)
	}
	if n, err = Send(a, []byte("three")); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := Arrived(b); n != 11 || err != nil || !Ready(b, unix.POLLIN) {
		t.Errorf("%d bytes have arrived, %v", n, err)
	}
	first, second, last := make([]byte, 2), make([]byte, 5), make([]byte, 10)
	if n, err = Readv(b, [][]byte{first, nil, second}); n != 7 || err != nil {
		t.Fatal(n, err)
	}
	if n, err = Recv(b, last); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	if got := string(first) + string(second) + string(last[:n]); got != "onetwothree" {
		t.Errorf("%q arrived", got)
	}
}

func TestMoreThanASocketTakes(t *testing.T) {
	a, b := pair(t)
	sent := bytes.Repeat([]byte("0123456789"), 1<<20)
	var got []byte
	for at := 0; at < len(sent); {
		n, err := Send(a, sent[at:])
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
		at += n
		for buffer := make([]byte, 256<<10); ; {
			n, err := Recv(b, buffer)
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buffer[:n]...)
		}
	}
	if !bytes.Equal(sent, got) {
		t.Errorf("%d bytes arrived of %d, or others", len(got), len(sent))
	}
}

func TestEnds(t *testing.T) {
	a, b := pair(t)
	if err := unix.Shutdown(int(a), unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if n, err := Recv(b, make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("the end: %d, %v", n, err)
	}
	if err := unix.Shutdown(int(b), unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if _, err := Send(b, []byte("x")); !errors.Is(err, unix.EPIPE) {
		t.Errorf("a socket that was shut down: %v", err)
	}
	const none = ^uintptr(0) >> 33 // no descriptor
	if _, err := Recv(none, make([]byte, 1)); !errors.Is(err, unix.EBADF) {
		t.Errorf("no descriptor: %v", err)
	}
	if !Ready(none, unix.POLLIN) {
		t.Error("a descriptor that is none keeps who waits for it waiting")
	}
	if n, err := Writev(a, nil); n != 0 || err != nil {
		t.Errorf("nothing to write: %d, %v", n, err)
	}
}

func TestQuiet(t *testing.T) {
	a, b := pair(t)
	if !Quiet(b) {
		t.Error("nothing was sent")
	}
	if n, err := Send(a, []byte("x")); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if Quiet(b) || Quiet(b) {
		t.Error("a byte has come")
	}
	if n, err := Recv(b, make([]byte, 2)); n != 1 || err != nil || !Quiet(b) {
		t.Errorf("%d bytes were read, %v", n, err)
	}
	if err := Shutdown(a, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if Quiet(b) || Quiet(^uintptr(0)>>33) {
		t.Error("an end, and no socket, are quiet")
	}
}

// TestNothingWaits is about sockets that somebody has made wait.
func TestNothingWaits(t *testing.T) {
	a, b := pair(t)
	for _, fd := range []uintptr{a, b} {
		if err := unix.SetNonblock(int(fd), false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Recv(b, make([]byte, 1)); !Waits(err) || !Quiet(b) {
		t.Errorf("nothing is there: %v", err)
	}
	for _, size := range []int{most, 2 * most} { // the second is announced
		for sent, piece := 0, make([]byte, size); ; sent += size {
			if _, err := Send(a, piece); Waits(err) {
				break
			} else if err != nil || sent > 64<<20 {
				t.Fatalf("%d bytes were taken, %v", sent, err)
			}
		}
	}
}
