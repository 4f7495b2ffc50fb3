package pythonenv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	stdhash "hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// bytecodeDir has the byte-code of packages, each in one file that is named by what it was compiled from. Only root enters it,
// and only what was compiled in a process of its own gets there. A file is the SHA-256 of the rest, and then for each module of the
// package, in their order, the size of its byte-code as eight bytes (big endian) and the byte-code.
const bytecodeDir = ".bytecode"

// bytecodeFormat is part of the names, because files of another one are there after an upgrade.
const bytecodeFormat = "2"

// Bounds of byte-code. None of it is held in memory whole: a module of a few KiB in a wheel may have the first.
const (
	maxBytecode     = 256 << 20 // of one module; the largest of real packages have a few MiB
	maxKeptBytecode = 64 << 20  // of one package; what has more is compiled for every environment
)

// compiledPath is where the byte-code of a module belongs (PEP 3147).
func compiledPath(path string, interp Interpreter) string {
	dir, name := filepath.Split(path)
	tag := interp.Implementation + "-" + strings.ReplaceAll(interp.Minor, ".", "") // sys.implementation.cache_tag
	return filepath.Join(dir, "__pycache__", strings.TrimSuffix(name, ".py")+"."+tag+".pyc")
}

// target is the environment that byte-code goes to. Its methods may be called concurrently, for different modules.
type target struct {
	env    *os.Root // the code of packages may have left links in it: none leads out of it
	interp Interpreter
	room   atomic.Int64 // bytes that may still be written: holes of files that a compiler left cost that nothing
}

// move copies what the compiler wrote below the directory "below" of from, which belongs to the build user, to the environment and to
// kept, and returns how many of the modules that were. What is missing was not compiled.
func (t *target) move(ctx context.Context, from *os.Root, below string, modules []module, kept *keptBytecode) (moved int, err error) {
	for _, m := range modules {
		if ctx.Err() != nil {
			return moved, context.Cause(ctx)
		}
		path := compiledPath(m.path, t.interp)
		f, size, err := openLeft(from, filepath.Join(below, filepath.Dir(m.path), filepath.Base(path)))
		if err != nil {
			continue
		}
		if size <= maxBytecode {
			err = t.write(path, kept.tee(f, size), size)
			moved++
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// write puts the byte-code of one module into the environment.
func (t *target) write(path string, code io.Reader, size int64) error {
	if t.room.Add(-size) < 0 {
		return &BuildError{Reason: ReasonTooLarge, Message: "the byte-code of the packages is larger than an environment may be", Remedy: remedySmaller}
	}
	f, err := t.create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, code, size)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write byte-code: %w", err)
	}
	return nil
}

func (t *target) create(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	if err := t.env.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("write byte-code: %w", err)
	}
	if info, err := t.env.Lstat(dir); err == nil && !info.IsDir() {
		return nil, unwelcome("%s is no directory", dir)
	}
	f, err := t.env.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) { // a package's own
		if err = t.env.RemoveAll(path); err == nil {
			f, err = t.env.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("write byte-code: %w", err)
	}
	return f, nil
}

// restore reports whether the file of an earlier build has byte-code for all of the modules, and puts it into the environment.
func (t *target) restore(path string, modules []module) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	// Nobody waits for the disk, so a file may have lost its content when the machine stopped.
	want := make([]byte, sha256.Size)
	sum := sha256.New()
	if _, err := io.ReadFull(f, want); err != nil {
		return false
	}
	left, err := io.Copy(sum, f)
	if err != nil || !bytes.Equal(sum.Sum(nil), want) {
		return false
	}
	if _, err := f.Seek(sha256.Size, io.SeekStart); err != nil {
		return false
	}
	for _, m := range modules {
		var header [8]byte
		if _, err := io.ReadFull(f, header[:]); err != nil {
			return false
		}
		size := binary.BigEndian.Uint64(header[:])
		if left -= int64(len(header)); left < 0 || size > uint64(left) {
			return false
		}
		left -= int64(size)
		if t.write(compiledPath(m.path, t.interp), f, int64(size)) != nil {
			return false
		}
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now)
	return left == 0
}

// keptBytecode is the byte-code of a package on its way to bytecodeDir. It is not needed: what cannot be kept is compiled again, so
// nothing fails for it. The zero value keeps nothing.
type keptBytecode struct {
	file *os.File // below bytecodeDir, with a name of its own; nil: it is not kept
	sum  stdhash.Hash
	size int64
}

// newKept begins a file for the byte-code of a package. It is closed by keep or drop.
func (b *Builder) newKept() *keptBytecode {
	f, err := os.CreateTemp(b.path(bytecodeDir), ".new-")
	if err != nil {
		return &keptBytecode{}
	}
	k := &keptBytecode{file: f, sum: sha256.New()}
	if _, err := f.Seek(sha256.Size, io.SeekStart); err != nil {
		k.drop()
	}
	return k
}

// tee is what reads the byte-code of the next module, of that size, and also keeps it.
func (k *keptBytecode) tee(code io.Reader, size int64) io.Reader {
	if k.size+size > maxKeptBytecode {
		k.drop()
	}
	if k.file == nil {
		return code
	}
	_, _ = k.Write(binary.BigEndian.AppendUint64(nil, uint64(size)))
	return io.TeeReader(code, k)
}

// Write never fails.
func (k *keptBytecode) Write(p []byte) (int, error) {
	if k.file == nil {
		return len(p), nil
	}
	k.size += int64(len(p))
	_, _ = k.sum.Write(p)
	if _, err := k.file.Write(p); err != nil {
		k.drop()
	}
	return len(p), nil
}

// keep gives the file its name. Without one it is gone.
func (k *keptBytecode) keep(path string) {
	if k.file == nil {
		return
	}
	defer k.drop()
	if _, err := k.file.WriteAt(k.sum.Sum(nil), 0); err == nil {
		_ = os.Rename(k.file.Name(), path)
	}
}

func (k *keptBytecode) drop() {
	if k.file != nil {
		_ = os.Remove(k.file.Name())
		_ = k.file.Close()
		k.file = nil
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
