package egress

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRoutesOfThisHost asks the kernel, over and over by one socket.
func TestRoutesOfThisHost(t *testing.T) {
	r, err := openRoutes()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	for range 3 {
		for _, own := range []string{"127.0.0.1", "127.8.9.1"} {
			if kind, err := r.kind(netip.MustParseAddr(own)); err != nil || kind != unix.RTN_LOCAL {
				t.Errorf("%s: %d, %v", own, kind, err)
			}
		}
		if kind, err := r.kind(netip.MustParseAddr("240.0.0.1")); kind == unix.RTN_LOCAL || errors.Is(err, errNoAnswer) {
			t.Errorf("240.0.0.1: %d, %v", kind, err)
		}
	}
}

// TestNobodyButTheKernelAnswers sends the socket what could be an answer from another of this process's: any process may send to it.
func TestNobodyButTheKernelAnswers(t *testing.T) {
	r, err := openRoutes()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	own, err := unix.Getsockname(int(r.socket))
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(stranger)
	if err := unix.Sendto(stranger, make([]byte, unix.SizeofNlMsghdr), 0, own); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("sent: %v", err)
	}
	if kind, err := r.kind(netip.MustParseAddr("127.0.0.1")); err != nil || kind != unix.RTN_LOCAL {
		t.Errorf("%d, %v", kind, err)
	}
}

// TestRouteAnswers reads what a kernel may say.
func TestRouteAnswers(t *testing.T) {
	message := func(kind uint16, number uint32, body ...byte) []byte {
		b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
		b = binary.NativeEndian.AppendUint16(b, kind)
		b = append(b, 0, 0)
		b = binary.NativeEndian.AppendUint32(b, number)
		return append(append(b, 0, 0, 0, 0), body...)
	}
	failed := func(errno syscall.Errno) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno))) }
	route := []byte{unix.AF_INET, 32, 0, 0, 0, 0, 0, unix.RTN_LOCAL, 0, 0, 0, 0}
	for name, c := range map[string]struct {
		answer []byte
		kind   byte
		err    error
	}{
		"local":            {message(unix.RTM_NEWROUTE, 7, route...), unix.RTN_LOCAL, nil},
		"unreachable":      {message(unix.NLMSG_ERROR, 7, failed(unix.ENETUNREACH)...), 0, unix.ENETUNREACH},
		"nothing":          {nil, 0, errNoAnswer},
		"another's answer": {message(unix.RTM_NEWROUTE, 6, route...), 0, errNoAnswer},
		"cut":              {message(unix.RTM_NEWROUTE, 7, route[:11]...), 0, errNoAnswer},
		"no error":         {message(unix.NLMSG_ERROR, 7, failed(0)...), 0, errNoAnswer},
		"something else":   {message(unix.RTM_NEWLINK, 7, route...), 0, errNoAnswer},
	} {
		if kind, err := routeAnswer(c.answer, 7); kind != c.kind || !errors.Is(err, c.err) {
			t.Errorf("%s: %d, %v", name, kind, err)
		}
	}
}
