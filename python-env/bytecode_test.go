package pythonenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// compilingJail counts the processes of the compiler.
type compilingJail struct{ ran atomic.Int32 }

func (j *compilingJail) Run(ctx context.Context, cmd *exec.Cmd, readOnly, writable []string, serve func(net.Listener)) error {
	if len(cmd.Args) > 4 && cmd.Args[4] == compiler {
		j.ran.Add(1)
	}
	return jail.Run(ctx, cmd, readOnly, writable, serve)
}

func TestAPackageIsCompiledOnce(t *testing.T) {
	links := tempDir(t)
	large := "x = 1\n" + strings.Repeat("y = [x, 'some text']\n", 5000)
	writeWheel(t, links, "large", map[string]string{"large/__init__.py": large, "large/part/__init__.py": "z = 2\n"})
	writeWheel(t, links, "one", map[string]string{"one.py": "x = 1\n"})
	cfg := smallConfig(t, filepath.Join(tempDir(t), "envs"))
	counting := &compilingJail{}
	cfg.FindLinks, cfg.Jail = append(cfg.FindLinks, links), counting
	b := started(t, cfg)
	built := func(requirements string) (Environment, int) {
		t.Helper()
		before := counting.ran.Load()
		env := ensure(t, b, requirements)
		return env, int(counting.ran.Load() - before)
	}
	compiled := func(env Environment) string {
		t.Helper()
		all, _ := filepath.Glob(env.Path + "/lib/*/site-packages/large/__pycache__/*.pyc")
		if len(all) != 1 {
			t.Fatalf("compiled are %v", all)
		}
		text, err := os.ReadFile(all[0])
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first, runs := built("large")
	second, again := built("large\none")
	if first.Key == second.Key || again != runs-1 || compiled(first) != compiled(second) {
		t.Errorf("%d runs of the compiler, then %d", runs, again)
	}
	if !strings.Contains(compiled(first), MountPoint+"/lib/") {
		t.Error("it names the place where it was built")
	}
	// What the disk lost is compiled anew; what nobody asked for in a long time goes.
	kept, err := os.ReadDir(b.path(bytecodeDir))
	if err != nil || len(kept) != 1 {
		t.Fatal(kept, err)
	}
	if err := os.Truncate(b.path(bytecodeDir, kept[0].Name()), 100); err != nil {
		t.Fatal(err)
	}
	if third, now := built("large\nsix"); now != runs || compiled(third) != compiled(first) {
		t.Errorf("%d runs of the compiler after the byte-code was damaged", now)
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(b.path(bytecodeDir, kept[0].Name()), past, past); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		keep  time.Duration
		limit int64
		left  int
	}{{0, 0, 1}, {2 * time.Hour, 1 << 30, 1}, {2 * time.Hour, 1, 0}} {
		if err := b.sweepBytecode(c.keep, c.limit); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(b.path(bytecodeDir)); err != nil || len(left) != c.left {
			t.Errorf("%+v: %d are left, %v", c, len(left), err)
		}
	}
	noneLeft(t, b)
}

// TestByteCodeStaysInTheEnvironment has links and pipes where byte-code is to be read and written, as the code of a package may leave
// them.
func TestByteCodeStaysInTheEnvironment(t *testing.T) {
	outside, dir, out := t.TempDir(), t.TempDir(), t.TempDir()
	if err := errors.Join(
		os.MkdirAll(dir+"/lib/a/__pycache__", 0o755), os.Symlink(outside, dir+"/lib/__pycache__"),
		os.Symlink(outside+"/x.pyc", dir+"/lib/a/__pycache__/x.cpython-311.pyc"), os.MkdirAll(out+"/env/lib/a", 0o755),
		os.WriteFile(out+"/env/lib/x.cpython-311.pyc", []byte("x"), 0o600), os.WriteFile(out+"/env/lib/a/x.cpython-311.pyc", []byte("x"), 0o600),
		os.WriteFile(outside+"/m.cpython-311.pyc", []byte("secret"), 0o600), mkfifo(outside+"/p.cpython-311.pyc"),
	); err != nil {
		t.Fatal(err)
	}
	to := targetAt(t, dir, 1<<20)
	if _, err := moved(t, to, out, "lib/x.py"); err == nil {
		t.Error("a directory that is a link is written to")
	}
	if n, err := moved(t, to, out, "lib/a/x.py"); n != 1 || err != nil {
		t.Errorf("%d moved, %v", n, err)
	}
	// Nor is anything read through a link of the build's.
	for _, put := range []func() error{
		func() error { return os.Symlink(outside+"/m.cpython-311.pyc", out+"/env/lib/a/m.cpython-311.pyc") },
		func() error { return mkfifo(out + "/env/lib/a/p.cpython-311.pyc") },
		func() error { return errors.Join(os.RemoveAll(out+"/env"), os.Symlink(outside, out+"/env")) },
		func() error { return errors.Join(os.Remove(out+"/env"), mkfifo(out+"/env")) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		if n, err := moved(t, to, out, "lib/a/m.py", "lib/a/p.py", "m.py", "p.py"); n != 0 || err != nil {
			t.Errorf("%d moved, %v", n, err)
		}
	}
	if found, _ := os.ReadDir(outside); len(found) != 2 {
		t.Errorf("%v was written", found)
	}
}

func targetAt(t *testing.T, dir string, room int64) *target {
	t.Helper()
	env, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = env.Close() })
	to := &target{env: env, interp: Interpreter{Minor: "3.11", Implementation: "cpython"}}
	to.room.Store(room)
	return to
}

// moved moves byte-code from where a compiler wrote it for an environment at /env.
func moved(t *testing.T, to *target, out string, modules ...string) (int, error) {
	t.Helper()
	return movedTo(t, to, out, &keptBytecode{}, modules...)
}

func movedTo(t *testing.T, to *target, out string, kept *keptBytecode, modules ...string) (int, error) {
	t.Helper()
	from, err := os.OpenRoot(out)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	return to.move(t.Context(), from, "env", modulesAt(modules), kept)
}

func modulesAt(paths []string) []module {
	var all []module
	for _, path := range paths {
		all = append(all, module{path, 1})
	}
	return all
}

// TestByteCodeIsNotHeldInMemory has a package whose byte-code is kept, one with more than is kept, and one with more than there is room.
func TestByteCodeIsNotHeldInMemory(t *testing.T) {
	out, names := t.TempDir(), []string{}
	if err := os.MkdirAll(out+"/env/lib", 0o755); err != nil {
		t.Fatal(err)
	}
	const each = 10 << 20
	for i := range 12 {
		name := fmt.Sprintf("m%d", i)
		names = append(names, "lib/"+name+".py")
		path := out + "/env/lib/" + name + ".cpython-311.pyc"
		if err := errors.Join(os.WriteFile(path, []byte(name), 0o600), os.Truncate(path, each)); err != nil {
			t.Fatal(err)
		}
	}
	b := New(Config{Dir: t.TempDir()})
	if err := os.Mkdir(b.path(bytecodeDir), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		modules, room int
		kept, fits    bool
	}{{6, 12, true, true}, {7, 12, false, true}, {12, 11, false, false}} {
		dir, again := t.TempDir(), t.TempDir()
		if err := errors.Join(os.Mkdir(dir+"/lib", 0o755), os.Mkdir(again+"/lib", 0o755)); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		kept, path := b.newKept(), b.path(bytecodeDir, fmt.Sprint(c.modules))
		n, err := movedTo(t, targetAt(t, dir, int64(c.room)*each), out, kept, names[:c.modules]...)
		if kept.keep(path); c.fits && (n != c.modules || err != nil) || !c.fits && err == nil {
			t.Errorf("%d moved, %v", n, err)
		}
		if restored := targetAt(t, again, 1<<30).restore(path, modulesAt(names[:c.modules])); restored != c.kept {
			t.Errorf("%d modules are restored: %t", c.modules, restored)
		}
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 8<<20 {
			t.Errorf("%d modules took %d MiB", c.modules, (after.TotalAlloc-before.TotalAlloc)>>20)
		}
		for _, root := range []string{dir, again} {
			all, _ := filepath.Glob(root + "/lib/__pycache__/*.pyc")
			if root == again && !c.kept || !c.fits {
				continue
			}
			if text, err := os.ReadFile(root + "/lib/__pycache__/m1.cpython-311.pyc"); len(all) != c.modules || err != nil || len(text) != each || string(text[:2]) != "m1" {
				t.Errorf("%d of %d modules are there, %v", len(all), c.modules, err)
			}
		}
	}
	if left, _ := os.ReadDir(b.path(bytecodeDir)); len(left) != 1 {
		t.Errorf("kept are %v", left)
	}
	// A file of another package, or one that ends in the middle of a module, is none.
	for _, modules := range [][]string{names[:5], names[:7], nil} {
		if targetAt(t, t.TempDir(), 1<<30).restore(b.path(bytecodeDir, "6"), modulesAt(modules)) {
			t.Errorf("restored for %v", modules)
		}
	}
}
