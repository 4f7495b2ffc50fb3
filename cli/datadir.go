package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"apibuilder/bundle"
)

// dataDir is the directory that holds everything a server keeps.
type dataDir struct {
	path string
	file *os.File // carries the lock; nil when none is held
}

// openDataDir makes the directory where there is none: mode 0711, because sandboxes pass through it as other users to
// what they may read, and may not list it. Nobody else may be able to write to it.
func openDataDir(path string) (*dataDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the data directory: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	if err = makePassable(path); err == nil {
		err = checkOwner(path)
	}
	if err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	return &dataDir{path: path}, nil
}

// makePassable makes a directory where there is none, which other users may pass through, whatever the umask takes away.
func makePassable(path string) error {
	err := os.Mkdir(path, 0o711)
	switch {
	case errors.Is(err, os.ErrExist):
		return nil
	case err != nil:
		return err
	}
	return os.Chmod(path, 0o711)
}

func checkOwner(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no directory: name another with --data-dir", path)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d: run `chown 0 %s`, or name another with --data-dir", path, owner, path)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others: run `chmod go-w %s`", path, path)
	}
	return nil
}

// lock makes sure that no other server uses the directory. The lock ends with the process or with close.
func (d *dataDir) lock() error {
	file, err := os.Open(d.path)
	if err != nil {
		return fmt.Errorf("lock the data directory: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("another server uses data directory %s: stop it, or name another with --data-dir", d.path)
		}
		return fmt.Errorf("lock the data directory: %w", err)
	}
	d.file = file
	return nil
}

// share duplicates the descriptor that carries the lock, which must be held.
func (d *dataDir) share() (*os.File, error) {
	fd, err := unix.FcntlInt(d.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("share the data directory's lock: %w", err)
	}
	return os.NewFile(uintptr(fd), d.path), nil
}

func (d *dataDir) close() error {
	if d.file == nil {
		return nil
	}
	return d.file.Close()
}

func (d *dataDir) join(name string) string { return filepath.Join(d.path, name) }

// kept are the names of what a server keeps in its data directory; docs/operating.md says what each is.
var kept = []string{
	"apibuilder.db", "secrets.key", "apibuilder.sock", "envs", "tools", "pythons", "files", "runner", "certificates", "handover.sock",
	"run", "run-b", "logs", "usage", "usage-b", "clock", "node", "trials",
}

// aside is what there may be besides, after a server was killed for example: SQLite's files, and those that are written before they get
// their names. A disk has a directory of its own.
var aside = []string{"apibuilder.db-", "node.new", "clock.new", ".listen-", ".secrets.key-", ".apibuilder-", "lost+found"}

// strangers are the names of what is in a data directory and not the server's.
func (d *dataDir) strangers() (names []string, err error) {
	entries, err := os.ReadDir(d.path)
	for _, e := range entries {
		begins := func(with string) bool { return strings.HasPrefix(e.Name(), with) }
		if !slices.Contains(kept, e.Name()) && !slices.ContainsFunc(aside, begins) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// shelf is where the files of programs are laid out.
func (d *dataDir) shelf() *bundle.Shelf { return bundle.NewShelf(d.join("files")) }
