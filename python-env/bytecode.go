package pythonenv

import (
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bytecodeDir has the byte-code of packages, each in one file that is named by what it was compiled from. Only root enters it,
// and only what was compiled in a process of its own gets there.
const bytecodeDir = ".bytecode"

// bytecode is one compiled module.
type bytecode struct {
	Path string // below the environment: lib/python3.11/site-packages/six/__pycache__/__init__.cpython-311.pyc
	Code []byte
}

// maxBytecode bounds the byte-code of one module; the largest of real packages have a few MiB.
const maxBytecode = 256 << 20

// compiledPath is where the byte-code of a module belongs (PEP 3147).
func compiledPath(path string, interp Interpreter) string {
	dir, name := filepath.Split(path)
	tag := interp.Implementation + "-" + strings.ReplaceAll(interp.Minor, ".", "") // sys.implementation.cache_tag
	return filepath.Join(dir, "__pycache__", strings.TrimSuffix(name, ".py")+"."+tag+".pyc")
}

// collectBytecode reads what the compiler wrote below dir, which belongs to the build user. What is missing was not compiled.
func collectBytecode(dir string, interp Interpreter, modules []module) ([]bytecode, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the byte-code: %w", err)
	}
	defer func() { _ = root.Close() }()
	var all []bytecode
	for _, m := range modules {
		path := compiledPath(m.path, interp)
		written := filepath.Join(filepath.Dir(m.path), filepath.Base(path))
		info, err := root.Lstat(written)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxBytecode {
			continue
		}
		code, err := readIn(root, written)
		if err != nil {
			return nil, fmt.Errorf("read the byte-code: %w", err)
		}
		all = append(all, bytecode{path, code})
	}
	return all, nil
}

func readIn(root *os.Root, path string) ([]byte, error) {
	f, err := root.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	code, err := io.ReadAll(io.LimitReader(f, maxBytecode))
	return code, errors.Join(err, f.Close())
}

// writeBytecode puts byte-code into an environment, in which the code of packages may have left links: none leads out of it.
func writeBytecode(env *os.Root, all []bytecode) error {
	made := map[string]bool{}
	for _, c := range all {
		dir := filepath.Dir(c.Path)
		if !made[dir] {
			if err := env.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				return fmt.Errorf("write byte-code: %w", err)
			}
			if info, err := env.Lstat(dir); err == nil && !info.IsDir() {
				return unwelcome("%s is no directory", dir)
			}
			made[dir] = true
		}
		f, err := env.OpenFile(c.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, os.ErrExist) { // a package's own
			if err = env.RemoveAll(c.Path); err == nil {
				f, err = env.OpenFile(c.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			}
		}
		if err != nil {
			return fmt.Errorf("write byte-code: %w", err)
		}
		_, err = f.Write(c.Code)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("write byte-code: %w", err)
		}
	}
	return nil
}

// restoreBytecode reports whether there was byte-code of an earlier build for all of a compilation.
func (b *Builder) restoreBytecode(env *os.Root, job compilation) bool {
	path := b.path(bytecodeDir, job.key)
	text, err := os.ReadFile(path)
	if err != nil || len(text) < sha256.Size {
		return false
	}
	// Nobody waits for the disk, so a file may have lost its content when the machine stopped.
	sum := sha256.Sum256(text[sha256.Size:])
	var all []bytecode
	if !bytes.Equal(sum[:], text[:sha256.Size]) || gob.NewDecoder(bytes.NewReader(text[sha256.Size:])).Decode(&all) != nil ||
		len(all) != len(job.modules) || writeBytecode(env, all) != nil {
		return false
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now)
	return true
}

// keepBytecode keeps the result of a compilation. One that is lost is compiled again.
func (b *Builder) keepBytecode(key string, all []bytecode) {
	var text bytes.Buffer
	if gob.NewEncoder(&text).Encode(all) != nil {
		return
	}
	aside, err := os.CreateTemp(b.path(bytecodeDir), ".new-")
	if err != nil {
		return
	}
	defer os.Remove(aside.Name())
	sum := sha256.Sum256(text.Bytes())
	_, err = aside.Write(append(sum[:], text.Bytes()...))
	if errors.Join(err, aside.Close()) == nil {
		_ = os.Rename(aside.Name(), b.path(bytecodeDir, key))
	}
}

// sweepBytecode removes byte-code that no build asked for within keep, and more of it while all together has more than limit;
// 0 is no bound.
func (b *Builder) sweepBytecode(keep time.Duration, limit int64) error {
	names, err := os.ReadDir(b.path(bytecodeDir))
	if err != nil {
		return fmt.Errorf("list the byte-code: %w", err)
	}
	var all []os.FileInfo
	var sum int64
	for _, name := range names {
		if info, err := name.Info(); err == nil {
			all, sum = append(all, info), sum+info.Size()
		}
	}
	slices.SortFunc(all, func(a, b os.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, info := range all {
		old := keep > 0 && time.Since(info.ModTime()) > keep || strings.HasPrefix(info.Name(), ".") && time.Since(info.ModTime()) > grace
		if !old && (limit <= 0 || sum <= limit) {
			continue
		}
		if err := os.Remove(b.path(bytecodeDir, info.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove byte-code: %w", err)
		}
		sum -= info.Size()
	}
	return nil
}
