package nsjail

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"apibuilder/egress/netns"
)

// buildAddress is where a build finds what this process serves it, in a network that has nothing else.
const buildAddress = "127.0.0.1:80"

// newNetwork makes a network namespace with nothing in it but loopback, and a listener on buildAddress in it. The namespace lives
// as long as either.
func newNetwork() (namespace *os.File, listener net.Listener, err error) {
	namespace, err = netns.Make(func() (err error) {
		if err := loopbackUp(); err != nil {
			return fmt.Errorf("bring loopback up: %w", err)
		}
		if listener, err = new(net.ListenConfig).Listen(context.Background(), "tcp4", buildAddress); err != nil {
			return fmt.Errorf("listen inside the network namespace: %w", err)
		}
		return nil
	})
	if err != nil && listener != nil {
		listener.Close()
		listener = nil
	}
	return namespace, listener, err
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
