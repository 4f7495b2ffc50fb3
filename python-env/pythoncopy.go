package pythonenv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// findBinary returns the interpreter itself for a path to it, to a link, or to its prefix.
func findBinary(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", pythonRefused(quoted(path)+" is not an absolute path", "give one like /opt/python3.10/bin/python3.10")
	}
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		if info, statErr := os.Stat(real); statErr == nil && info.IsDir() {
			real, err = filepath.EvalSymlinks(filepath.Join(real, "bin", "python3"))
		}
	}
	if err != nil {
		return "", pythonRefused(fmt.Sprintf("there is no Python at %s", path), "name its binary, or the directory that has bin/python3")
	}
	if info, err := os.Stat(real); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return "", pythonRefused(real+" is no program", "name its binary, or the directory that has bin/python3")
	}
	return real, nil
}

// checkRoots refuses a path that somebody besides root can change. A directory with the sticky bit, such as /tmp, lets
// nobody change what is root's in it.
func checkRoots(path string) error {
	for p := path; ; p = filepath.Dir(p) {
		info, err := os.Lstat(p)
		if err != nil {
			return fmt.Errorf("look at %s: %w", p, err)
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
			return pythonRefused(fmt.Sprintf("%s belongs to user %d, who could change what programs run", p, owner), "run chown 0 on it, or add another Python")
		}
		if info.Mode().Perm()&0o022 != 0 && (!info.IsDir() || info.Mode()&fs.ModeSticky == 0) {
			return pythonRefused(p+" can be written by others than root", "run chmod go-w on it, or add another Python")
		}
		if p == "/" {
			return nil
		}
	}
}

// left out of a copy: what only developers of Python and of its extensions need, and packages that are not ours.
var leftOut = regexp.MustCompile(`^(include|share|lib/pkgconfig|lib/[^/]+\.a|lib/python3\.[0-9]+/(test|idlelib|turtledemo|ensurepip|site-packages|config-[^/]+))$`)

// copyPython copies an interpreter with its prefix and keeps the copy, which works where it lies: Python finds its library
// maxPython is the most bytes that a Python with its standard library holds.
const maxPython = 8 << 30

// beside its binary, and run paths that name the old prefix are made relative.
func (b *Builder) copyPython(ctx context.Context, binary, origin string) (Python, error) {
	prefix := filepath.Dir(filepath.Dir(binary))
	libraries, err := filepath.Glob(filepath.Join(prefix, "lib", "python3.*", "os.py"))
	if err != nil || len(libraries) == 0 || slices.Contains([]string{"/", "/usr", "/usr/local"}, prefix) {
		return Python{}, pythonRefused(fmt.Sprintf("%s has no prefix of its own that could be copied", binary),
			"make it readable for all users, or add one that has, as pyenv and uv make them")
	}
	hash := sha256.Sum256([]byte(origin))
	top := b.pythonsDir(fmt.Sprintf("%s-%x", filepath.Base(binary), hash[:4]))
	if _, err := os.Lstat(top); err == nil {
		if _, err := b.FindPython(ctx, filepath.Join(top, "bin", filepath.Base(binary))); err == nil {
			return Python{}, pythonRefused("it was added already, as "+top, "remove that first, with `apibuilder python remove`")
		}
		if err := os.RemoveAll(top); err != nil { // what a killed process left
			return Python{}, fmt.Errorf("remove an unfinished copy: %w", err)
		}
	}
	err = copyPrefix(ctx, prefix, top)
	if err == nil {
		var p Python
		p, err = b.keepPython(ctx, addedPython{Path: filepath.Join(top, "bin", filepath.Base(binary)), Origin: origin, Copied: true})
		if err == nil {
			return p, nil
		}
	}
	return Python{}, errors.Join(err, os.RemoveAll(top))
}

// copyPrefix copies regular files, directories and links that stay inside. Times are kept, because compiled modules name
// those of their sources.
func copyPrefix(ctx context.Context, from, to string) error {
	var size extent
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if leftOut.MatchString(filepath.ToSlash(rel)) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if size.files, size.bytes = size.files+1, size.bytes+info.Size(); size.files > maxFiles || size.bytes > maxPython {
			return pythonRefused(fmt.Sprintf("%s holds more than a Python does", from), "name the Python's own prefix")
		}
		return copyEntry(path, filepath.Join(to, rel), rel, info, from)
	})
	if err != nil {
		return fmt.Errorf("copy the interpreter: %w", err)
	}
	return nil
}

func copyEntry(path, target, rel string, info fs.FileInfo, prefix string) error {
	switch mode := info.Mode(); {
	case mode.IsDir():
		return errors.Join(os.Mkdir(target, 0o755), os.Chmod(target, 0o755))
	case mode&fs.ModeSymlink != 0:
		link, err := os.Readlink(path)
		if err != nil || filepath.IsAbs(link) || !filepath.IsLocal(filepath.Join(filepath.Dir(rel), link)) {
			return err // what leads outside is left out
		}
		return os.Symlink(link, target)
	case mode.IsRegular():
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relocate(content, prefix, filepath.Dir(rel))
		perm := fs.FileMode(0o444)
		if mode&0o111 != 0 {
			perm = 0o555
		}
		if err := errors.Join(os.WriteFile(target, content, perm), os.Chmod(target, perm)); err != nil {
			return err
		}
		return os.Chtimes(target, info.ModTime(), info.ModTime())
	}
	return nil
}

// relocate makes run paths of an ELF file that lead into the prefix relative to the file, in place: the new text is
// shorter or it is left as it is. What follows its end in the string table stays, because other strings may share it.
func relocate(content []byte, prefix, dir string) {
	f, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return
	}
	table := f.Section(".dynstr")
	if table == nil || table.Type == elf.SHT_NOBITS {
		return
	}
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		values, err := f.DynValue(tag)
		if err != nil {
			continue
		}
		for _, at := range values {
			start := table.Offset + at
			if at >= table.Size || start >= uint64(len(content)) {
				continue
			}
			end := bytes.IndexByte(content[start:], 0)
			if end < 0 {
				continue
			}
			old := string(content[start : start+uint64(end)])
			if moved := relativePaths(old, prefix, dir); moved != old && len(moved) <= len(old) {
				copy(content[start:], moved+"\x00")
			}
		}
	}
}

func relativePaths(runPath, prefix, dir string) string {
	parts := strings.Split(runPath, ":")
	for i, p := range parts {
		inside, ok := strings.CutPrefix(filepath.Clean(p)+"/", prefix+"/")
		if !ok {
			continue
		}
		if rel, err := filepath.Rel(dir, filepath.Clean("./"+inside)); err == nil {
			parts[i] = "$ORIGIN/" + rel
		}
	}
	return strings.Join(parts, ":")
}
