package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"apibuilder/rawcall"
)

// openLoop sends requests at times that do not depend on the answers, and takes as little of the machine as wrk does: goroutines that sleep
// and parse by net/http took more than the proxies. One thread waits for all connections and for when the next request is due.
type openLoop struct {
	request []byte
	conns   []*openConn
	epoll   int
	begin   time.Time
	every   time.Duration // between two requests
	sent    int
	times   []time.Duration
}

// openConn has one request under way, and those that are due.
type openConn struct {
	file  *os.File
	fd    uintptr
	start time.Time   // of the request that is under way; zero: none
	due   []time.Time // of those that wait for it
	got   []byte
}

// open sends at a rate for a turn and returns how long each answer took, sorted.
func (p *peer) open(b *testing.B, rate float64) []time.Duration {
	b.Helper()
	u, err := url.Parse(p.url + "/json")
	if err != nil {
		b.Fatal(err)
	}
	l := &openLoop{
		request: fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nX-API-Key: %s\r\n\r\n", u.Path, u.Host, p.key),
		every:   time.Duration(float64(time.Second) / rate),
		times:   make([]time.Duration, 0, int(rate*openSpan.Seconds())+1),
	}
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		b.Fatal(err)
	}
	defer unix.Close(l.epoll)
	for i := range openConnections {
		c, err := dialOpen(u.Host)
		if err != nil {
			b.Fatal(err)
		}
		defer c.file.Close()
		l.conns = append(l.conns, c)
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, int(c.fd), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.run(); err != nil {
		b.Fatalf("%s: %v", p.name, err)
	}
	slices.Sort(l.times)
	return l.times
}

func dialOpen(address string) (*openConn, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	file, err := conn.(*net.TCPConn).File() // no poller's: it blocks
	if err != nil {
		return nil, err
	}
	return &openConn{file: file, fd: file.Fd(), got: make([]byte, 0, 4<<10)}, nil
}

func (l *openLoop) run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Timers of this thread are not put off to be together with others, by 50 us as they would be.
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return err
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }() // as it was
	l.begin = time.Now().Add(10 * time.Millisecond)
	all := int(*openSpan / l.every)
	for len(l.times) < all {
		if time.Since(l.begin) > *openSpan+10*time.Second {
			return fmt.Errorf("%d of %d requests have no answer", all-len(l.times), all)
		}
		if err := l.wait(all); err != nil {
			return err
		}
		for now := time.Now(); l.sent < all; l.sent++ {
			due := l.due()
			if due.After(now) {
				break
			}
			c := l.conns[l.sent%len(l.conns)]
			if !c.start.IsZero() {
				c.due = append(c.due, due)
				continue
			}
			if err := l.send(c, now); err != nil { // that this thread woke late is not the peer's doing
				return err
			}
		}
	}
	return nil
}

// due is when the next request is to be sent.
func (l *openLoop) due() time.Time { return l.begin.Add(l.every * time.Duration(l.sent)) }

// wait waits for answers or for when the next request is due, and takes the answers.
func (l *openLoop) wait(all int) error {
	wait := 10 * time.Millisecond
	if l.sent < all {
		wait = min(wait, max(0, time.Until(l.due())))
	}
	var events [openConnections]unix.EpollEvent
	timeout := unix.NsecToTimespec(wait.Nanoseconds())
	// Not announced to Go's scheduler, whose watcher would look at this thread every 20 us. It keeps one of its processors, for 10 ms at most.
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll), uintptr(unsafe.Pointer(&events)), uintptr(len(events)),
		uintptr(unsafe.Pointer(&timeout)), 0, 0)
	switch {
	case errors.Is(errno, unix.EINTR):
		return nil
	case errno != 0:
		return os.NewSyscallError("epoll_pwait2", errno) // which Linux has since 5.11
	}
	for _, event := range events[:n] {
		if err := l.receive(l.conns[event.Fd]); err != nil {
			return err
		}
	}
	return nil
}

// send sends a request, whose time counts from start.
func (l *openLoop) send(c *openConn, start time.Time) error {
	c.start = start
	n, err := rawcall.Send(c.fd, l.request)
	if err == nil && n != len(l.request) {
		err = fmt.Errorf("%d of a request's %d bytes were sent", n, len(l.request))
	}
	return err
}

// receive takes what there is of an answer. Where that is all, the request that has waited longest on the connection is sent; it counts from
// when it was due.
func (l *openLoop) receive(c *openConn) error {
	n, err := rawcall.Recv(c.fd, c.got[len(c.got):cap(c.got)])
	switch {
	case rawcall.Waits(err):
		return nil
	case err != nil:
		return err
	case n == 0:
		return fmt.Errorf("the connection ended after %q", c.got)
	}
	c.got = c.got[:len(c.got)+n]
	whole, err := answered(c.got)
	switch {
	case err != nil:
		return err
	case !whole && len(c.got) < cap(c.got):
		return nil
	case !whole || c.start.IsZero():
		return fmt.Errorf("not an answer to one request: %q", c.got)
	}
	c.got = c.got[:0]
	l.times = append(l.times, time.Since(c.start))
	c.start = time.Time{}
	if len(c.due) == 0 {
		return nil
	}
	due := c.due[0]
	c.due = slices.Delete(c.due, 0, 1)
	return l.send(c, due)
}

// answered reports whether an answer is whole; an error where it is no 200 of known length, or there is more.
func answered(got []byte) (bool, error) {
	head, body, found := bytes.Cut(got, []byte("\r\n\r\n"))
	if !found {
		return false, nil
	}
	line, fields, _ := bytes.Cut(head, []byte("\r\n"))
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return false, fmt.Errorf("answered %q", line)
	}
	for field := range bytes.SplitSeq(fields, []byte("\r\n")) {
		const name = "content-length:"
		if len(field) < len(name) || !bytes.EqualFold(field[:len(name)], []byte(name)) {
			continue
		}
		length, err := strconv.Atoi(string(bytes.TrimSpace(field[len(name):])))
		if err != nil || len(body) > length {
			return false, fmt.Errorf("not one answer: %q", got)
		}
		return len(body) == length, nil
	}
	return false, fmt.Errorf("an answer without a length: %q", head)
}
