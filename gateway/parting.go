package gateway

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/rawcall"
)

// parting is the end of a request that its program has not answered to the end: the consumer has gone, or was told that it took too long.
// The program goes on with it all the same, so its place is not free before the program has ended it too: else requests
// that nobody waits for any more would come on top of as many as the program may have at a time.
//
// The program is told by the end of the request's direction of its connection, and tells by closing the other one (see
// connections.py of the runner). The zero value is ready; it is safe for concurrent use.
type parting struct {
	mu   sync.Mutex
	left *os.File // the connection; nil: there is none that the program may be at work for
	over bool
}

// keep takes a program's connection that is about to be closed, in the place of one before.
func (p *parting) keep(conn syscall.RawConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if conn == nil || p.over {
		return
	}
	fd := -1
	_ = conn.Control(func(own uintptr) { // an error: it is closed already
		var err error
		if fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0); err != nil {
			fd = -1 // no descriptor is free, or no more: the place is
		}
	})
	if fd < 0 {
		return
	}
	_ = unix.Shutdown(fd, unix.SHUT_WR) // an error: the program has closed it
	left, err := polled(fd, "unix")
	if err != nil {
		return
	}
	if p.left != nil {
		_ = p.left.Close()
	}
	p.left = left
}

// mostParting bounds how long that is waited for, whatever an API's owner says: the places are everybody's.
const mostParting = 10 * time.Minute

const mostDrained = 64 << 20 // bytes that are read of an answer that nobody gets

// end gives the place back, now or when the program has ended the request, which it is given so long for. It does not wait.
func (p *parting) end(here place, patience time.Duration) {
	p.mu.Lock()
	left := p.left
	p.left, p.over = nil, true
	p.mu.Unlock()
	if left == nil {
		here.leave()
		return
	}
	go func() {
		defer here.leave()
		defer left.Close()
		_ = left.SetReadDeadline(time.Now().Add(min(patience, mostParting)))
		if raw, err := left.SyscallConn(); err == nil {
			drained := 0
			_ = raw.Read(func(fd uintptr) bool { return isOver(fd, &drained) }) // an error: it has had its time
		}
	}()
}

// isOver reports whether the program has closed a connection. What it still sends is read and dropped, as it may have more to send than the socket
// holds before it can know that nobody waits, or end; but not without end.
func isOver(fd uintptr, drained *int) bool {
	buffer := copyBuffers.Get().(*[copyBytes]byte)
	defer copyBuffers.Put(buffer)
	for *drained < mostDrained {
		n, err := rawcall.Recv(fd, buffer[:])
		switch {
		case rawcall.Waits(err):
			return false
		case err != nil || n == 0:
			return true
		}
		*drained += n
	}
	return rawcall.Ready(fd, unix.POLLRDHUP)
}
