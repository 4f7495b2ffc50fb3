package nsjail

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// buildAddress is where a build finds what this process serves it, in a network that has nothing else.
const buildAddress = "127.0.0.1:80"

// newNetwork makes a network namespace with nothing in it but loopback, and a listener on buildAddress in it: a socket
// belongs to the namespace that it was made in, whichever thread uses it later. The namespace lives as long as either.
func newNetwork() (namespace *os.File, listener net.Listener, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		home, openErr := os.Open("/proc/thread-self/ns/net")
		if openErr != nil {
			err = fmt.Errorf("find the own network namespace: %w", openErr)
			runtime.UnlockOSThread()
			return
		}
		defer home.Close()
		namespace, listener, err = fillNetwork()
		// A thread that cannot come back stays locked, and ends with this goroutine.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	<-done
	return namespace, listener, err
}

// fillNetwork takes the calling thread into a namespace of its own and sets that up.
func fillNetwork() (*os.File, net.Listener, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, nil, fmt.Errorf("make a network namespace: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return nil, nil, fmt.Errorf("bring loopback up: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", buildAddress)
	if err != nil {
		return nil, nil, fmt.Errorf("listen inside the network namespace: %w", err)
	}
	namespace, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		listener.Close()
		return nil, nil, fmt.Errorf("open the network namespace: %w", err)
	}
	return namespace, listener, nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
