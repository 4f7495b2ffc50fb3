package pythonenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// filesDir holds one name for every file of all environments, by its hash. Equal files of environments are hard links to
// it. Everything in it is root's and read-only since before it got its name there, so no build and no sandbox can change
// it, and it lies where only root can enter.
const filesDir = ".files"

// sharedBytes is the size from which a file is worth it: most files of an environment are smaller, and hold little of it.
const sharedBytes = 16 << 10

// dedupe makes the files of a sealed environment links to equal ones of others, and offers the rest to those that come.
func (b *Builder) dedupe(ctx context.Context, s scratch, entries []entry) error {
	unlock, err := lockShared(ctx, b.path(locksDir, "files"))
	if err != nil {
		return err
	}
	defer unlock()
	aside := filepath.Join(s.top, "link")
	for _, e := range entries {
		if !e.Mode.IsRegular() || e.Size < sharedBytes {
			continue
		}
		if err := b.shareFile(filepath.Join(s.env, e.Path), b.sharedPath(e), aside); err != nil {
			return fmt.Errorf("share the files of environments: %w", err)
		}
	}
	return nil
}

func (b *Builder) sharedPath(e entry) string {
	kind := "r"
	if e.Mode.Perm()&0o111 != 0 {
		kind = "x"
	}
	return b.path(filesDir, e.SHA256[:2], e.SHA256[2:]+kind)
}

func (b *Builder) shareFile(path, shared, aside string) error {
	err := os.Link(shared, aside)
	switch {
	case err == nil:
		return os.Rename(aside, path)
	case errors.Is(err, unix.EMLINK): // ext4 has at most 65,000 names of a file
		return nil
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	if err = os.Link(path, shared); errors.Is(err, os.ErrNotExist) {
		if err = os.Mkdir(filepath.Dir(shared), 0o700); err == nil || errors.Is(err, os.ErrExist) {
			err = os.Link(path, shared)
		}
	}
	if errors.Is(err, os.ErrExist) { // another build was faster: its copy and ours both stay
		return nil
	}
	return err
}

// sweepFiles removes the shared files that no environment has any more.
func (b *Builder) sweepFiles(ctx context.Context) (freed int64, err error) {
	unlock, err := lockExclusive(ctx, b.path(locksDir, "files"))
	if err != nil {
		return 0, err
	}
	defer unlock()
	dirs, err := os.ReadDir(b.path(filesDir))
	if err != nil {
		return 0, fmt.Errorf("list the shared files: %w", err)
	}
	for _, dir := range dirs {
		names, err := os.ReadDir(b.path(filesDir, dir.Name()))
		if err != nil {
			return freed, fmt.Errorf("list the shared files: %w", err)
		}
		for _, name := range names {
			path := b.path(filesDir, dir.Name(), name.Name())
			var s unix.Stat_t
			if unix.Lstat(path, &s) != nil || s.Nlink > 1 {
				continue
			}
			if err := os.Remove(path); err != nil {
				return freed, fmt.Errorf("remove a shared file: %w", err)
			}
			freed += s.Blocks * 512
		}
		_ = os.Remove(b.path(filesDir, dir.Name())) // if it is empty now
	}
	return freed, nil
}
