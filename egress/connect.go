package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/rawcall"
)

// connector connects to addresses that decide lets through, which is asked right before each is dialled. It is what net.Dialer is with a
// keep-alive of a minute, without what that does also where the server is near and has answered before connect(2) is over: timers, which
// wake other threads of the scheduler, and a wait for the poller.
type connector struct {
	decide  func(netip.Addr) error
	decided bool            // about the first address, just now
	life    context.Context // whose end a wait ends with as well; nil: none
}

// attempt is one that a connector has begun: what has come of it, or a socket that the kernel still connects.
type attempt struct {
	to     netip.AddrPort
	scope  uint32
	socket *socket
	made   bool
	err    error // when the socket is closed, or there is none
}

// close is for who does not complete it.
func (a attempt) close() {
	if a.err == nil && a.socket != nil {
		_ = a.socket.Close()
	}
}

// connect makes a connection within a time and ctx. Its errors are decide's, or *net.OpError as net.Dialer's.
func (c connector) connect(ctx context.Context, to netip.AddrPort, within time.Duration) (*socket, error) {
	if ctx.Err() != nil {
		return nil, dialError(to, given(ctx))
	}
	return c.complete(ctx, c.begin(to), within)
}

// begin goes as far as it can without waiting. What it returns must be completed or closed.
func (c connector) begin(to netip.AddrPort) attempt {
	a := attempt{to: netip.AddrPortFrom(to.Addr().Unmap(), to.Port())}
	if c.life != nil && c.life.Err() != nil {
		a.err = errCanceled
		return a
	}
	if a.scope, a.err = scopeOf(a.to.Addr()); a.err != nil {
		return a
	}
	family := unix.AF_INET6
	if a.to.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := rawcall.Socket(family)
	if err != nil {
		a.err = os.NewSyscallError("socket", err)
		return a
	}
	if a.made, a.err = c.ask(fd, a.to, a.scope); a.err != nil {
		_ = unix.Close(int(fd))
		return a
	}
	a.socket = &socket{fd: fd, remote: a.to}
	if a.made {
		a.err = a.name()
	}
	if a.err != nil {
		_ = a.socket.Close()
	}
	return a
}

// name asks for the socket's own address, once it is connected.
func (a attempt) name() (err error) {
	a.socket.local, err = rawcall.Local(a.socket.fd)
	if err == nil && a.socket.local == netip.AddrPortFrom(a.to.Addr().WithZone(""), a.to.Port()) {
		err = errSelf
	}
	return err
}

// complete is connect for what was begun.
func (c connector) complete(ctx context.Context, a attempt, within time.Duration) (*socket, error) {
	s, err := c.finish(ctx, a, within)
	for range 2 { // as net: https://go.dev/issue/2690
		if !again(err) {
			break
		}
		c.decided = false
		s, err = c.finish(ctx, c.begin(a.to), within)
	}
	if errors.Is(err, errSelf) {
		err = os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	if err != nil {
		return nil, dialError(a.to, err)
	}
	return s, nil
}

// dialError is an error in net's words, unless it is a *Refusal.
func dialError(to netip.AddrPort, err error) error {
	if _, refused := errors.AsType[*Refusal](err); refused {
		return err
	}
	return &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
}

// errSelf is a port of this host where nobody listens, and which the kernel chose as the socket's own: it is connected to itself then.
var errSelf = errors.New("connected to itself")

// again reports whether an error is a reason to try once more: the kernel chose a port that does not do.
func again(err error) bool { return errors.Is(err, errSelf) || errors.Is(err, unix.EADDRNOTAVAIL) }

// finish waits for an attempt where that is needed.
func (c connector) finish(ctx context.Context, a attempt, within time.Duration) (*socket, error) {
	if a.err != nil {
		return nil, a.err
	}
	if a.made {
		return a.socket, nil
	}
	err := c.await(ctx, a.socket, a.scope, within)
	if err == nil {
		err = a.name()
	}
	if err != nil {
		_ = a.socket.Close()
		return nil, err
	}
	return a.socket, nil
}

// ask has the kernel connect a socket, and reports whether it has done so already.
func (c connector) ask(fd uintptr, to netip.AddrPort, scope uint32) (made bool, err error) {
	if !c.decided {
		if err := c.decide(to.Addr()); err != nil {
			return false, err
		}
	}
	err = rawcall.Connect(fd, to, scope)
	if underway(err) {
		err = rawcall.Connect(fd, to, scope) // an answer that came during the first call was taken at its end, when it was known what that returns
	}
	if underway(err) {
		return false, nil
	}
	return true, os.NewSyscallError("connect", err)
}

// await waits until a connection is made that was begun.
func (c connector) await(ctx context.Context, s *socket, scope uint32, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if c.life != nil {
		defer context.AfterFunc(c.life, cancel)()
	}
	stop := context.AfterFunc(ctx, func() { _ = s.SetWriteDeadline(time.Unix(1, 0)) })
	var err error
	closed := s.Write(func(fd uintptr) bool {
		err = rawcall.Connect(fd, s.remote, scope)
		return !underway(err)
	})
	switch {
	case !stop(): // nothing may be written to the socket any more, if it is one
		return given(ctx)
	case closed != nil:
		return closed
	}
	return os.NewSyscallError("connect", err)
}

func underway(err error) bool {
	return errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.EALREADY) || errors.Is(err, unix.EINTR)
}

// errCanceled is what net says of a dial whose context was canceled.
var errCanceled = errors.New("operation was canceled")

// given is why a dial was given up, in net's words.
func given(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	return errCanceled
}

// scopeOf is the index of the link that an address's zone names, by its name or by that number; 0 without a zone.
func scopeOf(a netip.Addr) (uint32, error) {
	zone := a.Zone()
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	link, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, err
	}
	return uint32(link.Index), nil
}
