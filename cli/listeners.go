package cli

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"

	"github.com/coreos/go-systemd/v22/activation"

	"apibuilder/admin"
	"apibuilder/handover"
)

// handoverSocket is where a server hands on its sockets, in the data directory.
const handoverSocket = "handover.sock"

// bound is a listening socket of this server, and the setting that it is for.
type bound struct {
	net.Listener
	name, address string // address: as it was asked for
}

// file duplicates the socket's descriptor.
func (b bound) file() (handover.Socket, error) {
	listener, ok := b.Listener.(filer)
	if !ok {
		return handover.Socket{}, fmt.Errorf("hand on the socket of %s: a %T has no descriptor", b.name, b.Listener)
	}
	file, err := listener.File()
	if err != nil {
		return handover.Socket{}, fmt.Errorf("hand on the socket of %s: %w", b.name, err)
	}
	return handover.Socket{Name: b.name, Address: b.address, File: file}, nil
}

// filer is a listener with a descriptor.
type filer interface{ File() (*os.File, error) }

// duplicate returns a second listener on the same socket.
func duplicate(l net.Listener) (net.Listener, error) {
	listener, ok := l.(filer)
	if !ok {
		return nil, fmt.Errorf("duplicate a listener: a %T has no descriptor", l)
	}
	file, err := listener.File()
	if err != nil {
		return nil, fmt.Errorf("duplicate a listener: %w", err)
	}
	defer file.Close()
	return net.FileListener(file)
}

// listen binds an address, or takes a socket that is there already: from the server that this one takes over from, or from
// systemd (sd_listen_fds(3)).
func (s *server) listen(ctx context.Context, name, address string) (net.Listener, error) {
	l, err := s.inherited(name, address)
	if err == nil && l == nil {
		l = s.activated[name]
		delete(s.activated, name)
	}
	if err == nil && l == nil {
		l, err = listenTCP(ctx, "--"+name, address)
	}
	if err != nil {
		return nil, err
	}
	s.bound = append(s.bound, bound{l, name, address})
	return l, nil
}

// inherited is the predecessor's socket for the same address; nil when it has none.
func (s *server) inherited(name, address string) (net.Listener, error) {
	socket := s.predecessor.take(name, address)
	if socket.File == nil {
		return nil, nil
	}
	defer socket.File.Close()
	l, err := net.FileListener(socket.File)
	if err != nil {
		return nil, fmt.Errorf("take over the socket of %s: %w", name, err)
	}
	return l, nil
}

// openActivated finds the sockets that systemd made: one for consumers, or several whose FileDescriptorName= is the setting
// that each is for.
func (s *server) openActivated(context.Context) error {
	named, err := activation.ListenersWithNames()
	if err != nil {
		return fmt.Errorf("take the sockets of the socket activation: %w", err)
	}
	s.activated = map[string]net.Listener{}
	for name, all := range named {
		for i, l := range all {
			known := slices.Contains([]string{"listen", "admin-listen", "metrics-listen", "listen-tls", "listen-redirect"}, name)
			if !known && len(named) == 1 {
				name, known = "listen", true
			}
			if _, ok := l.(*net.TCPListener); !ok || !known || i > 0 {
				return fmt.Errorf("socket activation passed %d sockets named %q: pass one TCP socket for each address, "+
					"and name it with FileDescriptorName= after its setting, like listen or admin-listen", len(all), name)
			}
			s.activated[name] = l
		}
	}
	if len(s.activated) > 0 {
		s.log.Info("sockets come from socket activation: " + fmt.Sprint(slices.Sorted(maps.Keys(s.activated))))
	}
	return nil
}

// closeSpare closes sockets of the predecessor that nobody took. One of the socket activation that nobody took is an error,
// because whoever connects to it would wait for ever.
func (s *server) closeSpare(context.Context) error {
	s.predecessor.drop()
	for name, l := range s.activated {
		_ = l.Close()
		return fmt.Errorf("socket activation passed a socket for %s, which is not in use: set --%s to its address, or pass none", name, name)
	}
	return nil
}

// openLocal makes the management socket, or takes the predecessor's over, unless its file was removed and nobody reaches it.
func (s *server) openLocal(context.Context) (err error) {
	socket := s.predecessor.take(admin.SocketName, "")
	if _, missing := os.Lstat(s.data.join(admin.SocketName)); socket.File != nil && missing == nil {
		s.local, err = admin.AdoptRoot(socket.File, s.data.path, admin.SocketName)
	} else {
		if socket.File != nil {
			_ = socket.File.Close()
		}
		s.local, err = admin.ListenUnix(s.data.path)
	}
	if err != nil {
		return err
	}
	s.onStop("management socket", closer(s.local))
	s.bound = append(s.bound, bound{s.local, admin.SocketName, ""})
	return nil
}
