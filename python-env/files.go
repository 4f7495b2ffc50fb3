package pythonenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

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
	large := slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return !e.Mode.IsRegular() || e.Size < sharedBytes })
	aside := filepath.Join(s.top, "link")
	damaged := b.damagedFiles(large)
	for _, e := range large {
		path, shared := filepath.Join(s.env, e.Path), b.sharedPath(e)
		if damaged[shared] {
			err = replaceShared(path, shared, aside)
			delete(damaged, shared)
		} else {
			err = b.shareFile(path, shared, aside)
		}
		if err != nil {
			return fmt.Errorf("share the files of environments: %w", err)
		}
	}
	return nil
}

// damagedFiles finds the shared files for these entries that are not what their names say any more: the machine stopped before
// they were on the disk, the disk is bad, or somebody changed one. What is built anew must not become a link to one.
func (b *Builder) damagedFiles(entries []entry) map[string]bool {
	damaged := map[string]bool{}
	var mu sync.Mutex
	_ = severally(len(entries), func(i int, buffer []byte) error { // which returns none
		if path := b.sharedPath(entries[i]); b.isDamaged(path, entries[i], buffer) {
			mu.Lock()
			defer mu.Unlock()
			damaged[path] = true
		}
		return nil
	})
	return damaged
}

// fileState is what changes with a file.
type fileState struct {
	inode       uint64
	size, mtime int64
}

// isDamaged reads a file the first time, and again when it was written to: to read all of them for every build takes as long as a build of
// small packages.
func (b *Builder) isDamaged(path string, e entry, buffer []byte) bool {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false
	case err != nil || info.Mode() != e.Mode || info.Size() != e.Size:
		return true
	}
	stat := info.Sys().(*syscall.Stat_t) //nolint:forcetypeassert // that is what Linux gives
	state := fileState{stat.Ino, stat.Size, stat.Mtim.Nano()}
	if known, ok := b.sound.Load(path); ok && known == state {
		return false
	}
	sum, err := hashFile(path, buffer)
	if err != nil || sum != e.SHA256 {
		b.sound.Delete(path)
		return true
	}
	b.sound.Store(path, state)
	return false
}

// replaceShared puts a sound file in the place of a shared one. Environments that have the damaged one keep it until they are
// built again.
func replaceShared(path, shared, aside string) error {
	if err := os.Link(path, aside); err != nil {
		return err
	}
	return os.Rename(aside, shared)
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
	b.forgetAbsent()
	return freed, nil
}

// forgetAbsent drops what is known of shared files that have gone, by this process or another.
func (b *Builder) forgetAbsent() {
	for path := range b.sound.Range {
		if _, err := os.Lstat(path.(string)); errors.Is(err, os.ErrNotExist) { //nolint:forcetypeassert // isDamaged stores no other
			b.sound.Delete(path)
		}
	}
}
