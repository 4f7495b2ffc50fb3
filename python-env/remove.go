package pythonenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// removeDepth is how many directories in each other removeTree holds open.
const removeDepth = 100

// removeTree removes a directory with all that is in it, like os.RemoveAll, and holds no more than a few descriptors open however deep
// it is: os.RemoveAll has one for each level, and code that a build runs makes a hundred thousand levels in a second. What lies too deep
// is moved up first.
func removeTree(path string) error {
	parent, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	defer unix.Close(parent)
	if err := (&remover{top: -1}).remove(parent, filepath.Base(path), 0); err != nil {
		return &os.PathError{Op: "remove", Path: path, Err: err}
	}
	return nil
}

type remover struct {
	top   int // descriptor of the directory that is removed
	moved int // directories that were moved to it
}

// remove takes one name away. What others take away meanwhile is gone as well.
func (r *remover) remove(parent int, name string, depth int) error {
	err := unix.Unlinkat(parent, name, 0)
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return ignoreAbsent(err)
	}
	if err := unix.Unlinkat(parent, name, unix.AT_REMOVEDIR); !errors.Is(err, unix.ENOTEMPTY) {
		return ignoreAbsent(err)
	}
	if depth > removeDepth {
		return r.moveUp(parent, name)
	}
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return ignoreAbsent(err)
	}
	defer unix.Close(fd)
	if depth == 0 {
		r.top = fd
	}
	if err := r.empty(fd, depth); err != nil {
		return err
	}
	return ignoreAbsent(unix.Unlinkat(parent, name, unix.AT_REMOVEDIR))
}

// empty reads a directory from its beginning until nothing is in it: what is removed may hide what comes after it.
func (r *remover) empty(fd, depth int) error {
	buffer := make([]byte, 8<<10)
	for {
		if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
			return err
		}
		found := false
		for {
			n, err := unix.ReadDirent(fd, buffer)
			if err != nil {
				return ignoreAbsent(err)
			}
			if n == 0 {
				break
			}
			_, _, names := unix.ParseDirent(buffer[:n], -1, nil)
			for _, name := range names {
				found = true
				if err := r.remove(fd, name, depth+1); err != nil {
					return err
				}
			}
		}
		if !found {
			return nil
		}
	}
}

// moveUp puts a directory where it is removed later, under a name that nothing has there.
func (r *remover) moveUp(parent int, name string) error {
	for {
		r.moved++
		err := unix.Renameat2(parent, name, r.top, fmt.Sprintf(".deep-%d", r.moved), unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EEXIST) {
			return ignoreAbsent(err)
		}
	}
}
