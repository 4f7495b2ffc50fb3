package gateway

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// programSocket is a Unix socket to a program, below socket, which reads and writes by its poll.
type programSocket struct {
	net.Conn // closed: it knows the addresses
	poll     *programPoll
}

// programPoll has Go's poller know when there is something to read of a Unix socket, and of nothing else.
//
// Go has its poller tell of room for writing as well, whether anybody waits for that or not. Of a Unix socket the kernel tells so whenever the
// other side has taken something (unix_write_space, net/unix/af_unix.c): each request woke a thread of the gateway a second time, for nothing,
// in the middle of the program's read(2). So the poller has an epoll instance in place of the socket (epoll(7)), which asks for what can be
// read. Where a write finds no room, the poller is told of the socket too, and stays so.
type programPoll struct {
	fd      uintptr
	input   *os.File // the epoll instance
	raw     syscall.RawConn
	in, out programCall

	mu     sync.Mutex
	spare  int      // another descriptor of the socket, for room
	room   *os.File // nil until a write finds no room
	closed bool
}

var _ syscall.RawConn = (*programPoll)(nil)

// programCall is what reads or writes now. What the poller calls is made once.
type programCall struct {
	mu     sync.Mutex
	f      func(fd uintptr) (done bool)
	try    func(uintptr) bool
	done   bool
	failed error
}

// programSockets are open. Each takes two descriptors more than what net makes.
var programSockets atomic.Int64

// mostProgramSockets leaves nineteen of twenty descriptors to all else; a variable for tests. Where so many are in use, hardly a thread sleeps that
// could be woken for nothing.
var mostProgramSockets = sync.OnceValue(func() int64 {
	var limit unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) // none without
	return int64(min(limit.Cur/40, 512))           //nolint:gosec // at most 512
})

// newProgramSocket takes over a connection, which is as newSocket has it where there are many already, or no descriptors.
func newProgramSocket(conn *net.UnixConn) net.Conn {
	if programSockets.Add(1) <= mostProgramSockets() {
		if p, err := newProgramPoll(conn); err == nil {
			_ = conn.Close()
			s := &socket{Conn: &programSocket{conn, p}, raw: p}
			s.in.try, s.out.try = s.receive, s.send
			return s
		}
	}
	programSockets.Add(-1)
	return newSocket(conn)
}

// newProgramPoll makes one for a connection's socket, by descriptors of its own.
func newProgramPoll(conn *net.UnixConn) (p *programPoll, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fds [2]int
	closed := raw.Control(func(own uintptr) {
		for i := range fds {
			if fds[i], err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0); err != nil {
				if i > 0 {
					_ = unix.Close(fds[0])
				}
				return
			}
		}
	})
	if err = errors.Join(closed, os.NewSyscallError("fcntl", err)); err != nil {
		return nil, err
	}
	input, err := pollInput(fds[0])
	if err != nil {
		_, _ = unix.Close(fds[0]), unix.Close(fds[1])
		return nil, err
	}
	p = &programPoll{fd: uintptr(fds[0]), spare: fds[1], input: input}
	p.raw, _ = input.SyscallConn() // an error is only for a file that is none
	p.in.try, p.out.try = p.tryRead, p.tryWrite
	return p, nil
}

// pollInput makes an epoll instance that Go's poller knows, and that tells when a descriptor can be read, each time anew.
func pollInput(fd int) (*os.File, error) {
	input, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.EpollCtl(input, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET}); err != nil {
		_ = unix.Close(input)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	if err := unix.SetNonblock(input, true); err != nil { // by which package os knows what its poller takes
		_ = unix.Close(input)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return polled(input, "epoll")
}

// polled takes over a descriptor, which Go's poller must take.
func polled(fd int, name string) (*os.File, error) {
	file := os.NewFile(uintptr(fd), name)
	if err := file.SetDeadline(time.Time{}); err != nil { // os.ErrNoDeadline where it did not
		_ = file.Close()
		return nil, fmt.Errorf("the poller does not take one more descriptor: %w", err)
	}
	return file, nil
}

// Read implements syscall.RawConn.
func (p *programPoll) Read(f func(fd uintptr) (done bool)) error {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	p.in.f = f
	err := p.raw.Read(p.in.try)
	p.in.f = nil
	return p.over(err)
}

func (p *programPoll) tryRead(uintptr) bool { return p.in.f(p.fd) }

// Write implements syscall.RawConn.
func (p *programPoll) Write(f func(fd uintptr) (done bool)) error {
	c := &p.out
	c.mu.Lock()
	defer c.mu.Unlock()
	c.f = f
	err := p.raw.Write(c.try)
	room, done, failed := p.room, c.done, c.failed
	c.f, c.failed = nil, nil
	switch {
	case err != nil:
		return p.over(err)
	case done || failed != nil:
		return failed
	}
	raw, err := room.SyscallConn()
	if err != nil {
		return err
	}
	return p.over(raw.Write(f)) // by that descriptor, which is the same socket
}

// tryWrite is called while the socket is not closed.
func (p *programPoll) tryWrite(uintptr) bool {
	if p.out.done = p.out.f(p.fd); !p.out.done {
		p.out.failed = p.waitForRoom()
	}
	return true
}

// waitForRoom has the poller know when the socket can be written to.
func (p *programPoll) waitForRoom() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.room != nil:
		return nil
	case p.closed, p.spare < 0: // the poller did not take it
		return p.over(net.ErrClosed)
	}
	var err error
	p.room, err = polled(p.spare, "unix")
	p.spare = -1
	return err
}

// Control implements syscall.RawConn.
func (p *programPoll) Control(f func(fd uintptr)) error {
	return p.over(p.raw.Control(func(uintptr) { f(p.fd) }))
}

// over is what is said of a connection that nobody waits for any more.
func (*programPoll) over(err error) error {
	if err == nil {
		return nil
	}
	return &net.OpError{Op: "use", Net: "unix", Err: net.ErrClosed}
}

// close has whoever waits do so no more. A second one fails.
func (p *programPoll) close() error {
	p.mu.Lock()
	again, room, spare := p.closed, p.room, p.spare
	p.closed, p.spare = true, -1
	p.mu.Unlock()
	if again {
		return p.over(net.ErrClosed)
	}
	defer programSockets.Add(-1)
	err := p.input.Close() // nobody uses the socket after that: it waits for who does
	if room != nil {
		err = errors.Join(err, room.Close())
	}
	if spare >= 0 {
		err = errors.Join(err, os.NewSyscallError("close", unix.Close(spare)))
	}
	return errors.Join(err, os.NewSyscallError("close", unix.Close(int(p.fd))))
}

// Close implements net.Conn. Whoever waits for a program gives up by it.
func (p *programSocket) Close() error { return p.poll.close() }

// SetDeadline implements net.Conn. It fails, as those of reading and writing do.
func (*programSocket) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline implements net.Conn.
func (*programSocket) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline implements net.Conn.
func (*programSocket) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
