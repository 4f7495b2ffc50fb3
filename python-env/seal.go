package pythonenv

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// The most that an environment may hold.
const (
	maxFiles = 300_000
	maxBytes = 16 << 30
)

// extent is how much an environment holds.
type extent struct {
	files int
	bytes int64
}

// seal checks an environment and makes it root's and read-only. There may be directories, regular files with a single
// name, and links that lead to the interpreter or stay inside; everything else is refused. Nobody else may be able to
// reach the environment meanwhile.
func seal(env, interpreter string) (extent, error) {
	var size extent
	err := filepath.WalkDir(env, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		size.files++
		if info.Mode().IsRegular() {
			size.bytes += info.Size()
		}
		if size.files > maxFiles || size.bytes > maxBytes {
			return &BuildError{
				Reason: ReasonTooLarge, Message: fmt.Sprintf("the environment has more than %d files or %d GiB", maxFiles, maxBytes>>30),
				Remedy: "ask for fewer or smaller packages",
			}
		}
		if err := check(env, path, info, interpreter); err != nil {
			return err
		}
		return harden(path, info)
	})
	if err != nil {
		return size, fmt.Errorf("seal the environment: %w", err)
	}
	return size, nil
}

func check(env, path string, info fs.FileInfo, interpreter string) error {
	rel, err := filepath.Rel(env, path)
	if err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return nil
	case mode.IsRegular():
		// Another name could be in the cache of the build user, who could write the file through it.
		if n := info.Sys().(*syscall.Stat_t).Nlink; n != 1 {
			return unwelcome("%s has %d names", rel, n)
		}
		return nil
	case mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		if target == interpreter && filepath.Dir(rel) == "bin" {
			return nil
		}
		if filepath.IsAbs(target) || !filepath.IsLocal(filepath.Join(filepath.Dir(rel), target)) || strings.Contains(target, "/") {
			return unwelcome("the link %s leads to %s", rel, target)
		}
		return nil
	}
	return unwelcome("%s is neither a file nor a directory", rel)
}

func unwelcome(format string, args ...any) error {
	return &BuildError{
		Reason: ReasonFailed, Message: "a package installs what is not allowed: " + fmt.Sprintf(format, args...),
		Remedy: "ask for another version of it",
	}
}

// harden sets owner and mode. Owner first: chown(2) clears the set-uid bits that chmod is about to clear anyway.
func harden(path string, info fs.FileInfo) error {
	if err := os.Lchown(path, 0, 0); err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return nil
	case mode.IsDir(), mode.Perm()&0o111 != 0:
		return os.Chmod(path, 0o555)
	}
	return os.Chmod(path, 0o444)
}
