package doctor

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// outside looks whether sandboxes can have a network with a device that ends in the server, and whether names can be looked up.
func (e *exam) outside(context.Context) {
	const name, tun = "outgoing network", "/dev/net/tun"
	if e.UID != 0 {
		e.ok(name, "not tried, because that needs root")
		return
	}
	err := e.Network()
	switch {
	case err != nil && !e.Egress:
		e.ok(name, "cannot be had here (%v), and is not needed while --egress-ceiling is none", err)
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO):
		e.miss(name, "run `modprobe tun` and put the word tun into a file of /etc/modules-load.d; in a container pass the device on "+
			"(Docker: --device "+tun+"); or set --egress-ceiling none", "%v", err)
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		e.miss(name, "let the server open "+tun+" (systemd: DeviceAllow="+tun+" rw, and no ProtectClock= or PrivateDevices=; Docker: "+
			"--device "+tun+" --privileged), or set --egress-ceiling none", "%v", err)
	case err != nil:
		e.miss(name, "use a kernel that is built with CONFIG_TUN and CONFIG_NET_NS, or set --egress-ceiling none", "%v", err)
	case e.Egress && !e.hasResolver():
		e.warn(name, "name a server there: nameserver 192.0.2.53, with the address of yours",
			"a sandbox can have one, but /etc/resolv.conf names no server that names could be looked up with")
	case e.Egress:
		e.ok(name, "a sandbox can have one, by %s", tun)
	default:
		e.ok(name, "a sandbox could have one, by %s; --egress-ceiling is none", tun)
	}
}

// hasResolver reports whether the server knows whom to ask for names (resolv.conf(5)).
func (e *exam) hasResolver() bool {
	for _, f := range e.lines("/etc/resolv.conf") {
		if len(f) > 1 && f[0] == "nameserver" {
			return true
		}
	}
	return false
}
