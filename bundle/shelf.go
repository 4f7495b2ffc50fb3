package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// unusedFor is how long nobody must have asked for a bundle and no sandbox shown it before it is taken off the shelf.
const unusedFor = 24 * time.Hour

// Shelf is a directory with bundles laid out in it, each under its hash: root's alone, files that nobody writes. Several
// processes may share it, and its methods may be called concurrently. A bundle that a shared lock is held on, flock(2) on its
// directory, stays.
//
// Nothing is synced to the disk: after the machine has started again, another directory is used.
type Shelf struct {
	dir  string
	boot func() string
}

// NewShelf returns the shelf at dir, which is made when it is needed. It does no I/O.
func NewShelf(dir string) *Shelf { return &Shelf{dir, sync.OnceValue(bootID)} }

// bootID names this run of the machine's kernel (random(4)); one name stands for all where it is not told.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(id) < 36 {
		return "boot"
	}
	return string(id[:36])
}

// place is the directory of this boot.
func (s *Shelf) place() string { return filepath.Join(s.dir, s.boot()) }

var validHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Find returns the directory of a bundle, and reports whether it is there. It counts as used now.
func (s *Shelf) Find(hash string) (dir string, ok bool) {
	if !validHash.MatchString(hash) {
		return "", false
	}
	dir = filepath.Join(s.place(), hash)
	now := time.Now()
	return dir, os.Chtimes(dir, now, now) == nil
}

// Put lays a bundle out and returns its directory. What nobody has used for long goes meanwhile.
func (s *Shelf) Put(b *Bundle) (dir string, err error) {
	hash := b.Hash()
	if dir, ok := s.Find(hash); ok {
		return dir, nil
	}
	if err := os.MkdirAll(s.place(), 0o700); err != nil {
		return "", fmt.Errorf("make the place for programs' files: %w", err)
	}
	s.prune(time.Now())
	scratch, err := os.MkdirTemp(s.place(), ".new-")
	if err != nil {
		return "", fmt.Errorf("make a place for the program's files: %w", err)
	}
	defer os.RemoveAll(scratch)
	if err := layOut(scratch, b); err != nil {
		return "", err
	}
	dir = filepath.Join(s.place(), hash)
	err = os.Rename(scratch, dir)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) { // somebody else was faster
		err = nil
	}
	if err != nil {
		return "", fmt.Errorf("keep the program's files: %w", err)
	}
	return dir, nil
}

// layOut writes the files. Sandboxes read them as another user; on the host the shelf is root's.
func layOut(dir string, b *Bundle) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the place for the program's files: %w", err)
	}
	defer root.Close()
	made := map[string]bool{".": true}
	if err := root.Chmod(".", 0o755); err != nil {
		return fmt.Errorf("open the program's files to its sandbox: %w", err)
	}
	for _, f := range b.files {
		if err := makeDirs(root, filepath.Dir(f.Path), made); err != nil {
			return fmt.Errorf("make the directory of %s: %w", f.Path, err)
		}
		if err := writeFile(root, f); err != nil {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
	}
	return nil
}

func makeDirs(root *os.Root, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := makeDirs(root, filepath.Dir(dir), made); err != nil {
		return err
	}
	made[dir] = true
	return errors.Join(root.Mkdir(dir, 0o755), root.Chmod(dir, 0o755))
}

func writeFile(root *os.Root, f File) error {
	file, err := root.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(f.Content)
	return errors.Join(err, file.Chmod(0o444), file.Close())
}

// prune takes off what was not used for long. A failure leaves it for the next time.
func (s *Shelf) prune(now time.Time) {
	boots, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, boot := range boots {
		if boot.Name() != s.boot() {
			_ = os.RemoveAll(filepath.Join(s.dir, boot.Name()))
		}
	}
	entries, err := os.ReadDir(s.place())
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && now.Sub(info.ModTime()) > unusedFor {
			s.remove(e.Name())
		}
	}
}

// remove moves a bundle aside first, so that it is never found half removed. One that somebody holds stays.
func (s *Shelf) remove(name string) {
	path := filepath.Join(s.place(), name)
	dir, err := os.Open(path)
	if err != nil {
		return
	}
	defer dir.Close()
	if unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return
	}
	if validHash.MatchString(name) {
		aside, err := os.MkdirTemp(s.place(), ".old-")
		if err != nil || os.Rename(path, filepath.Join(aside, name)) != nil {
			return
		}
		path = aside
	}
	_ = os.RemoveAll(path)
}
