package pythonenv

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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

// TestByteCodeStaysInTheEnvironment has links where byte-code is to be written, as the code of a package may leave them.
func TestByteCodeStaysInTheEnvironment(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(dir+"/lib/a", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(outside, dir+"/lib/__pycache__"), os.Symlink(outside+"/x.pyc", dir+"/lib/a/x.pyc")); err != nil {
		t.Fatal(err)
	}
	env, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer env.Close()
	if err := writeBytecode(env, []bytecode{{"lib/__pycache__/x.pyc", []byte("x")}}); err == nil {
		t.Error("a directory that is a link is written to")
	}
	if err := writeBytecode(env, []bytecode{{"lib/a/x.pyc", []byte("x")}}); err != nil {
		t.Error(err)
	}
	if found, _ := os.ReadDir(outside); len(found) > 0 {
		t.Errorf("%v was written", found)
	}
	// Nor is anything read through a link of the build's.
	if err := os.WriteFile(outside+"/m.cpython-311.pyc", []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside+"/m.cpython-311.pyc", dir+"/lib/m.cpython-311.pyc"); err != nil {
		t.Fatal(err)
	}
	interp := Interpreter{Minor: "3.11", Implementation: "cpython"}
	if all, err := collectBytecode(dir, interp, []module{{"lib/m.py", 1}}); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
}
