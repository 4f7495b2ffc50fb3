package sandboxtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"apibuilder/sandbox"

	"golang.org/x/sys/unix"
)

// layOut writes files into a directory that only this user may enter, as it is where bundles are kept.
func layOut(t *testing.T, files map[string]string) string {
	t.Helper()
	top := filepath.Join(t.TempDir(), "shelf")
	dir := filepath.Join(top, "bundle")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(top, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var severalFiles = map[string]string{
	"shop/__init__.py":    "",
	"shop/prices.py":      "import pathlib\ndef price(): return int((pathlib.Path(__file__).parent / 'data' / 'price.txt').read_text())\n",
	"shop/data/price.txt": "42",
	"templates/hello.txt": "hello",
	"shop/main.py": `
import errno, multiprocessing, os, sys
from fastapi import FastAPI
from .prices import price
import shop.prices
api = FastAPI()
other = FastAPI()
def attempt(f):
    try: return f() and "allowed" or "allowed"
    except OSError as e: return errno.errorcode[e.errno]
def child(q): q.put(price())
@api.get("/")
def root():
    return {"price": price(), "file": __file__, "relative": open("templates/hello.txt").read(), "path": sys.path[0],
        "write": attempt(lambda: open("/program/shop/data/price.txt", "w")), "new": attempt(lambda: open("/program/x", "w")),
        "unlink": attempt(lambda: os.unlink("/program/shop/main.py")), "chmod": attempt(lambda: os.chmod("/program/shop", 0o777)),
        "remount": attempt(lambda: None), "above": sorted(os.listdir("/program/..")), "same": os.path.samefile("/program/..", "/")}
@api.get("/child")
def in_child():
    c = multiprocessing.get_context("spawn")
    q = c.Queue(); p = c.Process(target=child, args=(q,)); p.start(); n = q.get(timeout=50); p.join()
    return {"price": n}
`,
}

// severalFilesAreSeen shows a program of several files: read-only, below its own directory, importable, and nobody else's.
func severalFilesAreSeen(t *testing.T, b *bench) {
	dir := layOut(t, severalFiles)
	i := b.launch(t, "", func(s *sandbox.Spec) { s.Files, s.Entry = dir, "shop.main:api" })
	got := get[map[string]any](t, i, "/")
	for name, want := range map[string]any{
		"price": 42.0, "file": "/program/shop/main.py", "relative": "hello", "path": "/program", "write": "EROFS", "new": "EROFS",
		"unlink": "EROFS", "chmod": "EROFS", "same": true,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if child := get[map[string]int](t, i, "/child"); child["price"] != 42 {
		t.Errorf("a child process that was spawned finds the price %v", child)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), dir) {
		t.Error("the mount is seen on the host")
	}
	held, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		t.Error("the directory is not locked while a sandbox sees it")
	}
	other := b.launch(t, "import os\n@app.get('/')\ndef look(): return os.listdir('/program')\n")
	if seen := get[[]string](t, other, "/"); len(seen) != 0 {
		t.Errorf("a program of one text sees %q", seen)
	}
	i.Stop(context.Background(), time.Second)
	for deadline := time.Now().Add(time.Minute); unix.Flock(int(held.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the directory is locked after the sandbox has ended")
		}
	}
}

func failuresOfSeveralFiles(t *testing.T, b *bench) {
	for name, c := range map[string]struct {
		files map[string]string
		entry string
		want  sandbox.Reason
		says  string
	}{
		"raises":       {map[string]string{"main.py": "import part\n", "part.py": "1/0\n"}, "main", sandbox.ImportError, `File "/program/part.py", line 1`},
		"no syntax":    {map[string]string{"main.py": "def\n"}, "main", sandbox.ImportError, `File "/program/main.py", line 1`},
		"no app":       {map[string]string{"main.py": "x = 1\n"}, "main", sandbox.NoApp, "app = FastAPI()"},
		"factory":      {map[string]string{"main.py": "def create_app():\n    pass\n"}, "main:create_app", sandbox.NoApp, "`app = create_app()`"},
		"no attribute": {map[string]string{"main.py": "app = 1\n"}, "main:api", sandbox.NoApp, "`api`"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.try(t, "", func(s *sandbox.Spec) { s.Files, s.Entry = layOut(t, c.files), c.entry })
			exit, ok := errors.AsType[*sandbox.Exit](err)
			if !ok || exit.Reason != c.want || !strings.Contains(exit.Detail, c.says) || strings.Contains(exit.Detail, "importlib") {
				t.Errorf("error %v, %+v; want %s that says %q", err, exit, c.want, c.says)
			}
		})
	}
	_, err := b.try(t, "", func(s *sandbox.Spec) { s.Files, s.Entry = "/nonexistent", "main" })
	if exit, ok := errors.AsType[*sandbox.Exit](err); !ok || exit.Reason != sandbox.SandboxFailed {
		t.Errorf("files that are not there: %v", err)
	}
}

// tasksRun runs one-off code in sandboxes of its own.
func tasksRun(t *testing.T, b *bench) {
	dir := layOut(t, severalFiles)
	for name, c := range map[string]struct {
		task   sandbox.Task
		change func(*sandbox.Spec)
		reason sandbox.Reason
		code   int
		prints string
	}{
		"ends":             {task: sandbox.Task{Code: "import sys; print('here', sys.argv)"}, reason: sandbox.Finished, prints: "here ['-c']"},
		"exits":            {task: sandbox.Task{Code: "import sys; print('x'); sys.exit(7)"}, reason: sandbox.Finished, code: 7, prints: "x"},
		"raises":           {task: sandbox.Task{Code: "a = 1\n1/0", Args: []string{"fix.py", "z"}}, reason: sandbox.Finished, code: 1, prints: `File "fix.py", line 2`},
		"imports files":    {task: sandbox.Task{Code: "from shop.main import price; print(price())"}, change: func(s *sandbox.Spec) { s.Files, s.Entry = dir, "shop.main" }, reason: sandbox.Finished, prints: "42"},
		"imports the text": {task: sandbox.Task{Code: "import main; print(main.answer)"}, change: func(s *sandbox.Spec) { s.Code = "answer = 6 * 7\n" }, reason: sandbox.Finished, prints: "42"},
		"has variables":    {task: sandbox.Task{Code: "import os; print(os.environ['SECRET'])"}, change: func(s *sandbox.Spec) { s.Env = map[string]string{"SECRET": "mine"} }, reason: sandbox.Finished, prints: "mine"},
		"takes too long":   {task: sandbox.Task{Code: "print('begun', flush=True)\nwhile True: pass", Time: 20 * time.Second}, reason: sandbox.TimeLimit, prints: "begun"},
		"eats memory":      {task: sandbox.Task{Code: "print('begun', flush=True)\nb = [bytes(1 << 20) for _ in range(10000)]\nx = bytearray(1 << 30)\nfor n in range(0, 1 << 30, 4096): x[n] = 1"}, reason: sandbox.OutOfMemory, prints: "begun"},
		"kills itself":     {task: sandbox.Task{Code: "import os, signal; print('begun', flush=True); os.kill(os.getpid(), signal.SIGKILL)"}, reason: sandbox.Crashed, prints: "begun"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := b.spec
			if c.change != nil {
				c.change(&spec)
			}
			var mu sync.Mutex
			var printed strings.Builder
			c.task.Output = func(l sandbox.Line) {
				mu.Lock()
				defer mu.Unlock()
				printed.WriteString(l.Text + "\n")
			}
			if c.task.Time == 0 {
				c.task.Time = time.Minute
			}
			exit, err := b.manager.Run(t.Context(), spec, c.task)
			if err != nil {
				t.Fatal(err)
			}
			if exit.Reason != c.reason || c.reason == sandbox.Finished && exit.Code != c.code || !strings.Contains(printed.String(), c.prints) {
				t.Errorf("ended with %+v and printed %q; want %s, %d, %q", exit, printed.String(), c.reason, c.code, c.prints)
			}
		})
	}
	select {
	case line := <-b.lines:
		t.Errorf("what a task prints is in the log of the API: %+v", line)
	default:
	}
}
