package pythonenv

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"
)

// maxFiles is the most files that an environment may hold.
const maxFiles = 300_000

// extent is how much an environment holds.
type extent struct {
	files int
	bytes int64
}

// seal checks an environment and makes it root's and read-only. There may be directories, regular files with a single
// name, and links that lead to the interpreter or stay inside; everything else is refused. Nobody else may be able to
// reach the environment meanwhile. It returns what is in it, without hashes.
func seal(env, interpreter string, limit int64) (entries []entry, size extent, err error) {
	err = walk(env, func(e entry) error {
		size.files++
		size.bytes += e.Size
		if size.files > maxFiles || size.bytes > limit {
			return tooLargeToKeep(limit)
		}
		path := filepath.Join(env, e.Path)
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if err := check(env, path, info, interpreter); err != nil {
			return err
		}
		if err := harden(path, info); err != nil {
			return err
		}
		if info, err = os.Lstat(path); err != nil {
			return err
		}
		e.Mode = info.Mode()
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, size, fmt.Errorf("seal the environment: %w", err)
	}
	return entries, size, nil
}

func tooLargeToKeep(limit int64) error {
	return &BuildError{
		Reason:  ReasonTooLarge,
		Message: fmt.Sprintf("the environment has more than %d files or %d MiB", maxFiles, limit>>20), Remedy: remedySmaller,
	}
}

// walk calls fn for everything below env, directories before what is in them, by name.
func walk(env string, fn func(entry) error) error {
	return filepath.WalkDir(env, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(env, path)
		if err != nil {
			return err
		}
		e := entry{Path: rel, Mode: info.Mode()}
		switch {
		case e.Mode.IsRegular():
			e.Size = info.Size()
		case e.Mode&fs.ModeSymlink != 0:
			if e.Target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		return fn(e)
	})
}

func check(env, path string, info fs.FileInfo, interpreter string) error {
	rel, err := filepath.Rel(env, path)
	if err != nil {
		return err
	}
	if !utf8.ValidString(rel) { // the list of what is in the environment could not name it, and Verify would miss it
		return unwelcome("the name %q is not UTF-8", rel)
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
		if filepath.IsAbs(target) || !filepath.IsLocal(filepath.Join(filepath.Dir(rel), target)) || strings.Contains(target, "/") || !utf8.ValidString(target) {
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
