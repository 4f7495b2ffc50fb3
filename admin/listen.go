package admin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// SocketName is the management socket's name in the data directory.
const SocketName = "apibuilder.sock"

// Directory is an open directory through which its sockets are reached: the kernel takes at most 108 bytes of path for a
// socket (unix(7)), and a data directory may lie deeper. Close it.
type Directory struct{ file *os.File }

// OpenDirectory opens a directory for At.
func OpenDirectory(path string) (*Directory, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &Directory{os.NewFile(uintptr(fd), path)}, nil
}

// At is a short path of a name in the directory, good while the Directory is open.
func (d *Directory) At(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.file.Fd(), name)
}

// Close ends it.
func (d *Directory) Close() error { return d.file.Close() }

// ListenUnix makes the management socket in dir: see ListenRoot.
func ListenUnix(dir string) (*RootListener, error) { return ListenRoot(dir, SocketName) }

// ListenRoot makes a socket of that name in dir, in place of one that a dead server left. Only root and the server's own
// user get to connect: the socket's mode says so from its first moment, and every connection's peer is looked at
// (SO_PEERCRED, unix(7)). The caller holds the data directory's lock. Closing the listener removes the socket, unless
// another one has taken its name.
func ListenRoot(dir, name string) (*RootListener, error) {
	listener, err := listenRoot(dir, name)
	if err != nil {
		return nil, fmt.Errorf("make the socket %s: %w", name, err)
	}
	return listener, nil
}

func listenRoot(dir, name string) (*RootListener, error) {
	// Made in a directory that only we may enter and moved from there, because between bind and chmod it has the umask's mode.
	private, err := os.MkdirTemp(dir, ".listen-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	at, err := OpenDirectory(private)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: at.At(name), Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // it would remove the path of before the move
	l := &RootListener{UnixListener: listener, path: filepath.Join(dir, name)}
	if err = os.Chmod(filepath.Join(private, name), 0o600); err == nil {
		err = os.Rename(filepath.Join(private, name), l.path)
	}
	if err == nil {
		err = l.Own()
	}
	if err != nil {
		listener.Close()
		return nil, err
	}
	return l, nil
}

// AdoptRoot makes a listener of the socket of that name in dir, which another process made and handed on as file. It closes
// file. The listener leaves the socket's file alone until Own.
func AdoptRoot(file *os.File, dir, name string) (*RootListener, error) {
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("adopt the socket %s: %w", name, err)
	}
	listener, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("adopt the socket %s: it is a socket of network %s", name, l.Addr().Network())
	}
	listener.SetUnlinkOnClose(false)
	return &RootListener{UnixListener: listener, path: filepath.Join(dir, name)}, nil
}

// RootListener accepts root and the process's own user.
type RootListener struct {
	*net.UnixListener
	path string
	made os.FileInfo // of the socket's file; nil: another listener removes it
}

// Accept turns others away without an answer.
func (l *RootListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if cred, err := Peer(conn); err == nil && (cred.Uid == 0 || cred.Uid == uint32(os.Geteuid())) {
			return conn, nil
		}
		_ = conn.Close()
	}
}

// Duplicate returns a second listener on the same socket, which leaves the file alone.
func (l *RootListener) Duplicate() (*RootListener, error) {
	file, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("duplicate the socket %s: %w", filepath.Base(l.path), err)
	}
	defer file.Close()
	second, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("duplicate the socket %s: %w", filepath.Base(l.path), err)
	}
	listener := second.(*net.UnixListener)
	listener.SetUnlinkOnClose(false)
	return &RootListener{UnixListener: listener, path: l.path}, nil
}

// Own has Close remove the file from here on. It must not be called during Close.
func (l *RootListener) Own() (err error) {
	if l.made, err = os.Lstat(l.path); err != nil {
		return fmt.Errorf("own a socket: %w", err)
	}
	return nil
}

// Keep has Close leave the file, because another process goes on with the socket. It must not be called during Close.
func (l *RootListener) Keep() { l.made = nil }

// Close also removes the socket's file where it is still this listener's.
func (l *RootListener) Close() error {
	if l.made != nil {
		if there, err := os.Lstat(l.path); err == nil && os.SameFile(there, l.made) {
			_ = os.Remove(l.path)
		}
	}
	return l.UnixListener.Close()
}

// Peer returns who connected, to who accepts, and who listens, to who connected (SO_PEERCRED, unix(7)).
func Peer(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var sockErr error
	err = raw.Control(func(fd uintptr) { cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return cred, errors.Join(err, sockErr)
}
