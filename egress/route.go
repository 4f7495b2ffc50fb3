package egress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"apibuilder/rawcall"
)

// routes asks the kernel where it would send packets (rtnetlink(7)), over a socket that is kept. It is no library's query, because every
// connection of a sandbox waits for it, and a library reads all that is known of a route for the one byte that counts. One caller may use it
// at a time.
type routes struct {
	socket uintptr
	asked  uint32
	buffer [4 << 10]byte // a route's description takes some 100 bytes
}

// openRoutes makes the socket; close must be called.
func openRoutes() (*routes, error) {
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(socket, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil { // nobody but the kernel may answer
		_ = unix.Close(socket)
		return nil, os.NewSyscallError("connect", err)
	}
	return &routes{socket: uintptr(socket)}, nil
}

func (r *routes) close() { _ = unix.Close(int(r.socket)) }

// kind is the type of the route to an address (RTN_UNICAST, RTN_LOCAL and so on). Its error is a syscall.Errno where the kernel
// said that there is none; after any other error an answer may come late, and the socket is of no more use.
func (r *routes) kind(to netip.Addr) (byte, error) {
	r.asked++
	if _, err := rawcall.Send(r.socket, routeQuery(r.buffer[:0], to, r.asked)); err != nil {
		return 0, fmt.Errorf("ask for the route to %s: %w", to, errors.Join(errNoAnswer, err))
	}
	n, err := rawcall.Recv(r.socket, r.buffer[:]) // the kernel answers before Send returns
	if err != nil {
		return 0, fmt.Errorf("read the route to %s: %w", to, errors.Join(errNoAnswer, err))
	}
	return routeAnswer(r.buffer[:n], r.asked)
}

var errNoAnswer = errors.New("no answer of the kernel's")

// routeQuery appends the question for the route to an address: a struct nlmsghdr, a struct rtmsg and RTA_DST.
func routeQuery(b []byte, to netip.Addr, number uint32) []byte {
	order, family := binary.NativeEndian, byte(unix.AF_INET)
	if to.Is6() {
		family = unix.AF_INET6
	}
	address := to.AsSlice()
	attribute := unix.SizeofRtAttr + len(address)
	b = order.AppendUint32(b, uint32(unix.SizeofNlMsghdr+unix.SizeofRtMsg+attribute))
	b = order.AppendUint16(b, unix.RTM_GETROUTE)
	b = order.AppendUint16(b, unix.NLM_F_REQUEST)
	b = order.AppendUint32(b, number)
	b = order.AppendUint32(b, 0)
	b = append(b, family, byte(8*len(address)), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = order.AppendUint16(b, uint16(attribute))
	b = order.AppendUint16(b, unix.RTA_DST)
	return append(b, address...)
}

// routeAnswer reads the answer to the question of a number.
func routeAnswer(b []byte, number uint32) (kind byte, err error) {
	order := binary.NativeEndian
	if len(b) < unix.SizeofNlMsghdr+4 || order.Uint32(b[8:]) != number {
		return 0, fmt.Errorf("an answer of %d bytes to another question: %w", len(b), errNoAnswer)
	}
	body := b[unix.SizeofNlMsghdr:]
	switch order.Uint16(b[4:]) {
	case unix.NLMSG_ERROR: // a struct nlmsgerr
		if errno := -int32(order.Uint32(body)); errno > 0 {
			return 0, syscall.Errno(errno)
		}
	case unix.RTM_NEWROUTE: // a struct rtmsg
		if len(body) >= unix.SizeofRtMsg {
			return body[7], nil
		}
	}
	return 0, fmt.Errorf("an answer of type %d in %d bytes: %w", order.Uint16(b[4:]), len(b), errNoAnswer)
}
