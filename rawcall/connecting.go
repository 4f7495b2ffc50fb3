package rawcall

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket makes a TCP socket that does not wait, for unix.AF_INET or unix.AF_INET6. It is the caller's to close. Errors are unix.Errno.
func Socket(family int) (fd uintptr, err error) {
	n, err := again(func() (uintptr, unix.Errno) {
		n, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		return n, errno
	})
	return uintptr(n), err
}

// SetOption sets an option of a socket that is a number (setsockopt(2)). Errors are unix.Errno.
func SetOption(fd uintptr, level, option int, value int32) error {
	_, err := again(func() (uintptr, unix.Errno) {
		_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, fd, uintptr(level), uintptr(option), uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value), 0)
		return 0, errno
	})
	return err
}

// Connect begins to connect a socket of Socket, and tells how far that is where it has begun (connect(2)): unix.EINPROGRESS or unix.EALREADY
// while it is being made, nil once it is made, and why it is not, another unix.Errno, once. An IPv6 address of a link needs that link's index
// as its scope. To a server on this machine it takes some tens of us, in which that server's side of the kernel works as well.
func Connect(fd uintptr, to netip.AddrPort, scope uint32) error {
	port := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, to.Port()))
	var errno unix.Errno
	if a := to.Addr(); a.Is4() {
		address := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: a.As4()}
		_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&address)), unsafe.Sizeof(address))
	} else {
		address := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: a.As16(), Scope_id: scope}
		_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&address)), unsafe.Sizeof(address))
	}
	if errno == 0 {
		return nil
	}
	return errno
}

// Local is a socket's own address (getsockname(2)), without a zone. Errors are unix.Errno.
func Local(fd uintptr) (netip.AddrPort, error) {
	var address unix.RawSockaddrInet6 // which is as long as both are
	size := uint32(unsafe.Sizeof(address))
	_, err := again(func() (uintptr, unix.Errno) {
		_, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, fd, uintptr(unsafe.Pointer(&address)), uintptr(unsafe.Pointer(&size)))
		return 0, errno
	})
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, address.Port))
	switch address.Family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&address)).Addr), port), nil
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(address.Addr), port), nil
	}
	return netip.AddrPort{}, unix.EAFNOSUPPORT
}

// Shutdown ends one way of a connection, or both (shutdown(2)). Errors are unix.Errno.
func Shutdown(fd uintptr, how int) error {
	_, err := again(func() (uintptr, unix.Errno) {
		_, _, errno := unix.RawSyscall(unix.SYS_SHUTDOWN, fd, uintptr(how), 0)
		return 0, errno
	})
	return err
}
