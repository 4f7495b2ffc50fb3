// Package rawcall makes system calls on descriptors that never wait, without a word to Go's scheduler. A call that is announced
// has the scheduler's watcher woken when the process did nothing before, which then looks every 20 us, and takes the processor of
// a call that lasts longer than that, so that another thread is woken for it (runtime, entersyscall and sysmon): for the exchange of
// a few bytes these cost more than the calls.
//
// A goroutine in such a call cannot be stopped, and holds up who stops all of them, as the collector does for a moment. So every descriptor must be
// non-blocking, and what moves many bytes is announced all the same. Recv, Quiet and Send do not wait on others either.
package rawcall

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// most is how many bytes a call moves at the most that is not announced: some tens of us.
const most = 64 << 10

// Waits reports whether an error of this package says that the descriptor is not ready.
func Waits(err error) bool { return err == error(unix.EAGAIN) } //nolint:errorlint // asked after each call, of an error that nothing wraps

// Recv reads what a socket has, at most len(b) bytes; none, without an error, at the end. Errors are unix.Errno, unix.EAGAIN where there
// is nothing now.
func Recv(fd uintptr, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, errno := transfer(syscall.SYS_RECVFROM, fd, b[:min(len(b), most)], unix.MSG_DONTWAIT)
	afterReading()
	if errno != 0 {
		return 0, errno
	}
	return n, nil
}

// Quiet reports whether a socket has nothing to read, be it bytes, an end or an error.
func Quiet(fd uintptr) bool {
	var b [1]byte
	_, errno := transfer(syscall.SYS_RECVFROM, fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return errno == unix.EAGAIN
}

// Send writes as much of b as a socket takes. Errors are unix.Errno, unix.EAGAIN where it takes nothing now, and never a signal.
func Send(fd uintptr, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	beforeWriting()
	if len(b) > most {
		return again(func() (uintptr, unix.Errno) {
			n, _, errno := unix.Syscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
			return n, errno
		})
	}
	n, errno := transfer(syscall.SYS_SENDTO, fd, b, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	if errno != 0 {
		return 0, errno
	}
	return n, nil
}

// transfer is a receiving or a sending call. It is made by package syscall, not by unix, whose way there is longer.
func transfer(trap, fd uintptr, b []byte, flags uintptr) (int, unix.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), flags, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// Readv reads into the parts, one after the other. Errors are unix.Errno.
func Readv(fd uintptr, parts [][]byte) (int, error) {
	defer afterReading()
	return vector(unix.SYS_READV, fd, parts)
}

// Writev writes of the parts, together at most some 64 KiB, as much as the descriptor takes, one after the other. Errors are unix.Errno.
func Writev(fd uintptr, parts [][]byte) (int, error) {
	beforeWriting()
	return vector(unix.SYS_WRITEV, fd, parts)
}

func vector(trap, fd uintptr, parts [][]byte) (int, error) {
	var space [16]unix.Iovec
	all := space[:0]
	for _, p := range parts {
		if len(p) > 0 {
			v := unix.Iovec{Base: &p[0]}
			v.SetLen(len(p))
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return 0, nil
	}
	return again(func() (uintptr, unix.Errno) {
		n, _, errno := unix.RawSyscall(trap, fd, uintptr(unsafe.Pointer(&all[0])), uintptr(len(all)))
		return n, errno
	})
}

// Arrived returns how many bytes a TCP socket has that were not read (SIOCINQ, tcp(7)).
func Arrived(fd uintptr) (int, error) {
	var n int32
	_, err := again(func() (uintptr, unix.Errno) {
		_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, fd, unix.TIOCINQ, uintptr(unsafe.Pointer(&n)))
		return 0, errno
	})
	return int(n), err
}

// Ready reports whether a descriptor is ready for what events say (poll(2)), or broken.
func Ready(fd uintptr, events int16) bool {
	ask := unix.PollFd{Fd: int32(fd), Events: events}
	var now unix.Timespec // does not wait
	n, err := again(func() (uintptr, unix.Errno) {
		n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&ask)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		return n, errno
	})
	return n > 0 || err != nil
}

// again makes a call until no signal interrupts it.
func again(call func() (uintptr, unix.Errno)) (int, error) {
	for {
		switch n, errno := call(); {
		case errno == 0:
			return int(n), nil
		case !errors.Is(errno, unix.EINTR):
			return 0, errno
		}
	}
}
