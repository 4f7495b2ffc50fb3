package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func (e *exam) addresses(ctx context.Context) {
	server, runs := e.Server(ctx)
	for _, a := range []struct{ name, flag, wanted, used string }{
		{"address", "--listen", e.Settings.Listen, server.Listen},
		{"management address", "--admin-listen", e.AdminListen, server.AdminListen},
		{"TLS address", "--listen-tls", e.TLSListen, ""},
		{"redirect address", "--listen-redirect", e.RedirectListen, ""},
		{"metrics address", "--metrics-listen", e.MetricsListen, ""},
	} {
		if a.wanted != "" || a.name == "address" {
			e.address(ctx, a.name, a.flag, a.wanted, a.used, server, runs)
		}
	}
}

// certificate looks whether serve can use the one that is in files.
func (e *exam) certificate(context.Context) {
	const name = "certificate"
	if e.Certificate == nil {
		return
	}
	if err := e.Certificate(); err != nil {
		e.miss(name, "mend what is named, or the settings --tls-cert and --tls-key", "%v", err)
		return
	}
	e.ok(name, "it can be read, and its key belongs to it")
}

// address looks whether serve could listen there, or our server does.
func (e *exam) address(ctx context.Context, name, flag, address, used string, server Server, runs bool) {
	err := e.Host.Listen(ctx, address)
	switch {
	case runs && errors.Is(err, unix.EADDRINUSE) && (samePort(address, used) || e.holds(server.PID, address)):
		e.ok(name, "%s: the server of this data directory, process %d, listens there", address, server.PID)
	case runs && err == nil && used != "":
		e.ok(name, "%s is free; the server of this data directory, process %d, listens on %s", address, server.PID, used)
	case err == nil:
		e.ok(name, "%s is free", address)
	case errors.Is(err, unix.EADDRINUSE) && e.systemd() && e.holds(1, address):
		e.warn(name, "look at `systemctl list-sockets`: a socket of the server's own service is right; stop another one, or choose another address with "+
			flag, "systemd holds %s for a service", address)
	case errors.Is(err, unix.EADDRINUSE):
		e.miss(name, "stop the other program, or choose another address with "+flag, "%s is used by another program", address)
	default:
		e.miss(name, "choose another address with "+flag, "%s: %v", address, err)
	}
}

// systemd reports whether process 1 is systemd, see sd_booted(3).
func (e *exam) systemd() bool {
	_, err := os.Stat(e.path("/run/systemd/system"))
	return err == nil
}

// holds reports whether a process has a socket that listens at the port of an address. Only root can tell of others' processes.
func (e *exam) holds(pid int, address string) bool {
	inodes := e.listening(address)
	dir := e.path("/proc/" + strconv.Itoa(pid) + "/fd")
	names, _ := os.ReadDir(dir) // none is none
	return slices.ContainsFunc(names, func(fd os.DirEntry) bool {
		to, err := os.Readlink(filepath.Join(dir, fd.Name()))
		return err == nil && slices.Contains(inodes, to)
	})
}

// listening lists the sockets that listen at the port of an address, as /proc/PID/fd names them (proc_pid_net(5)).
func (e *exam) listening(address string) (sockets []string) {
	const inodeColumn, stateColumn, listens = 9, 3, "0A"
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil
	}
	for _, f := range append(e.lines("/proc/net/tcp"), e.lines("/proc/net/tcp6")...) {
		if len(f) > inodeColumn && f[stateColumn] == listens && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", number)) {
			sockets = append(sockets, "socket:["+f[inodeColumn]+"]")
		}
	}
	return sockets
}

func samePort(a, b string) bool {
	_, portA, errA := net.SplitHostPort(a)
	_, portB, errB := net.SplitHostPort(b)
	return errA == nil && errB == nil && portA == portB
}
