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

// connect makes a connection within a time and ctx. Its errors are decide's, or *net.OpError as net.Dialer's.
func (c connector) connect(ctx context.Context, to netip.AddrPort, within time.Duration) (*socket, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	s, err := c.try(ctx, to, within)
	for range 2 { // as net: https://go.dev/issue/2690
		if !errors.Is(err, errSelf) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			break
		}
		c.decided = false
		s, err = c.try(ctx, to, within)
	}
	if errors.Is(err, errSelf) {
		err = os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	if _, refused := errors.AsType[*Refusal](err); err != nil && !refused {
		err = &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	return s, err
}

// errSelf is a port of this host where nobody listens, and which the kernel chose as the socket's own: it is connected to itself then.
var errSelf = errors.New("connected to itself")

func (c connector) try(ctx context.Context, to netip.AddrPort, within time.Duration) (*socket, error) {
	if ctx.Err() != nil {
		return nil, given(ctx)
	}
	if c.life != nil && c.life.Err() != nil {
		return nil, errCanceled
	}
	scope, err := scopeOf(to.Addr())
	if err != nil {
		return nil, err
	}
	family := unix.AF_INET6
	if to.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := rawcall.Socket(family)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	made, err := c.begin(fd, to, scope)
	if err != nil {
		_ = unix.Close(int(fd))
		return nil, err
	}
	s := &socket{fd: fd, remote: to}
	if !made {
		err = c.await(ctx, s, scope, within)
	}
	if err == nil {
		s.local, err = rawcall.Local(fd)
	}
	if err == nil && s.local == netip.AddrPortFrom(to.Addr().WithZone(""), to.Port()) {
		err = errSelf
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// begin has the kernel connect a socket, and reports whether it has done so already.
func (c connector) begin(fd uintptr, to netip.AddrPort, scope uint32) (made bool, err error) {
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
