package doctor

import (
	"context"
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

func (e *exam) addresses(ctx context.Context) {
	server, runs := e.Server(ctx)
	e.address(ctx, "address", "--listen", e.Settings.Listen, server.Listen, server, runs)
	if e.AdminListen != "" {
		e.address(ctx, "management address", "--admin-listen", e.AdminListen, server.AdminListen, server, runs)
	}
}

// address looks whether serve could listen there, or our server does.
func (e *exam) address(ctx context.Context, name, flag, address, used string, server Server, runs bool) {
	err := e.Host.Listen(ctx, address)
	switch {
	case runs && errors.Is(err, unix.EADDRINUSE) && samePort(address, used):
		e.ok(name, "%s: the server of this data directory, process %d, listens there", address, server.PID)
	case runs && err == nil:
		e.ok(name, "%s is free; the server of this data directory, process %d, listens on %s", address, server.PID, used)
	case err == nil:
		e.ok(name, "%s is free", address)
	case errors.Is(err, unix.EADDRINUSE):
		e.miss(name, "stop the other program, or choose another address with "+flag, "%s is used by another program", address)
	default:
		e.miss(name, "choose another address with "+flag, "%s: %v", address, err)
	}
}

func samePort(a, b string) bool {
	_, portA, errA := net.SplitHostPort(a)
	_, portB, errB := net.SplitHostPort(b)
	return errA == nil && errB == nil && portA == portB
}
