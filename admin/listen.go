package admin

import (
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

// ListenUnix makes the management socket in dir, in place of one that a dead server left. Only root and the server's own
// user get to connect: the socket's mode says so from its first moment, and every connection's peer is looked at
// (SO_PEERCRED, unix(7)). The caller holds the data directory's lock. Closing the listener removes the socket.
func ListenUnix(dir string) (net.Listener, error) {
	// Made in a directory that only we may enter and moved from there, because between bind and chmod it has the umask's mode.
	private, err := os.MkdirTemp(dir, ".listen-")
	if err != nil {
		return nil, fmt.Errorf("make the management socket: %w", err)
	}
	defer os.RemoveAll(private)
	at, err := OpenDirectory(private)
	if err != nil {
		return nil, fmt.Errorf("make the management socket: %w", err)
	}
	defer at.Close()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: at.At(SocketName), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("make the management socket: %w", err)
	}
	listener.SetUnlinkOnClose(false) // it would remove the path of before the move
	path := filepath.Join(dir, SocketName)
	if err = os.Chmod(filepath.Join(private, SocketName), 0o600); err == nil {
		err = os.Rename(filepath.Join(private, SocketName), path)
	}
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("make the management socket: %w", err)
	}
	return &rootListener{UnixListener: listener, path: path}, nil
}

// rootListener accepts root and the process's own user.
type rootListener struct {
	*net.UnixListener
	path string
}

// Accept turns others away without an answer.
func (l *rootListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if uid, err := peer(conn); err == nil && (uid == 0 || uid == uint32(os.Geteuid())) {
			return conn, nil
		}
		_ = conn.Close()
	}
}

// Close also removes the socket.
func (l *rootListener) Close() error {
	_ = os.Remove(l.path) // a second Close finds none
	return l.UnixListener.Close()
}

func peer(conn *net.UnixConn) (uint32, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var sockErr error
	err = raw.Control(func(fd uintptr) { cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil {
		return 0, err
	}
	if sockErr != nil {
		return 0, sockErr
	}
	return cred.Uid, nil
}
