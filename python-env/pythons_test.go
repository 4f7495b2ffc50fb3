package pythonenv

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"apibuilder/internal/pythontest"
)

// otherPython is a Python 3.10 in a place that only root can read.
func otherPython(t *testing.T) string {
	t.Helper()
	return pythontest.Closed310(t, tempDir(t))
}

// pythonsBuilder has a place for added interpreters of its own.
func pythonsBuilder(t *testing.T) *Builder {
	t.Helper()
	cfg := testConfig(filepath.Join(tempDir(t), "envs"))
	return started(t, cfg)
}

// TestAPythonIsOnTheDiskBeforeItIsOffered, or a loss of power would leave a broken one on the list.
func TestAPythonIsOnTheDiskBeforeItIsOffered(t *testing.T) {
	b := pythonsBuilder(t)
	var offered []addedPython
	var copies []string
	b.flush = func(dir string) error {
		offered, _ = b.addedPythons()
		copies, _ = filepath.Glob(filepath.Join(dir, "*", "lib", "python3.10", "os.py"))
		return errors.New("the disk is full")
	}
	path := otherPython(t)
	if p, err := b.AddPython(t.Context(), path); err == nil {
		t.Errorf("what is not on the disk is offered: %+v", p)
	}
	if len(offered) > 0 || len(copies) != 1 {
		t.Errorf("when it was written out %v was offered, and there was %v", offered, copies)
	}
	b.flush = flushAll
	if _, err := b.AddPython(t.Context(), path); err != nil {
		t.Error(err)
	}
}

func TestTwoPythonsEachWithItsPillow(t *testing.T) {
	b := pythonsBuilder(t)
	p, err := b.AddPython(t.Context(), otherPython(t))
	if err != nil {
		t.Fatal(err)
	}
	if !p.Copied || p.Minor != "3.10" || !strings.HasPrefix(p.Path, b.pythonsDir()+"/") || !strings.HasPrefix(p.Path, p.Prefix+"/") {
		t.Fatalf("%+v", p)
	}
	for _, path := range p.Mounts {
		if !strings.HasPrefix(path, b.pythonsDir()) {
			t.Errorf("it needs %s", path)
		}
	}
	for python, version := range map[string]string{"3.10": "9.0.1", systemMinor(t, b): "10.4.0"} {
		env, err := b.Ensure(t.Context(), Request{Requirements: "pillow==" + version, Python: python})
		if err != nil {
			t.Fatal(err)
		}
		out := inSandbox(t, env, `if 1:
			import PIL.Image, ssl, sqlite3, ctypes, sys
			PIL.Image.new("RGB", (8, 8)).resize((4, 4))
			print("pillow", PIL.__version__, "python %d.%d" % sys.version_info[:2], "from", sys.base_prefix)`)
		want := "pillow " + version + " python " + env.Interpreter.Minor
		if !strings.Contains(out, want) || python == "3.10" && !strings.Contains(out, want+" from "+p.Prefix) {
			t.Errorf("want %s in\n%s", want, out[max(0, len(out)-500):])
		}
		if strings.Contains(out, "could not find platform") {
			t.Error(out)
		}
	}
	// A later process finds it, and it can be removed.
	again := started(t, b.cfg)
	found, err := again.FindPython(t.Context(), "3.10")
	if err != nil || found.Path != p.Path || found.Origin != p.Origin || found.Added.IsZero() {
		t.Fatalf("%+v, %v", found, err)
	}
	if err := again.RemovePython(t.Context(), found); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.Prefix); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy is left: %v", err)
	}
	if _, err := b.FindPython(t.Context(), "3.10"); err == nil {
		t.Error("it is offered still")
	}
}

func TestPythonsThatAreRefused(t *testing.T) {
	b := pythonsBuilder(t)
	dir := tempDir(t)
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	owned := write("owned", "#!/bin/sh\n", 0o755)
	if err := os.Chown(owned, buildUser, buildUser); err != nil {
		t.Fatal(err)
	}
	closed := write("closed/bin/python3", "#!/bin/sh\n", 0o755)
	if err := os.Chmod(filepath.Join(dir, "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	stranger := write("lib/os.py", "", 0o644)
	if err := os.Chown(filepath.Dir(stranger), buildUser, buildUser); err != nil {
		t.Fatal(err)
	}
	borrowed := write("borrowed", `#!/bin/sh
echo '{"version":"3.12.1","minor":"3.12","implementation":"cpython","stdlib":"`+filepath.Dir(stranger)+`"}'`, 0o755)
	for path, want := range map[string]string{
		borrowed:                              "/lib belongs to user",
		"python3":                             "not an absolute path",
		"/nowhere/python3":                    "there is no Python at",
		dir:                                   "there is no Python at",
		"/etc/passwd":                         "is no program",
		owned:                                 "belongs to user",
		write("open", "#!/bin/sh\n", 0o777):   "can be written by others",
		closed:                                "no prefix of its own",
		write("broken", "#!/bin/sh\n", 0o755): "understand what it says",
		b.Interpreters(t.Context())[0].Path:   "is offered already",
		write("old", "#!/bin/sh\necho '{\"minor\":\"3.8\"}'\n", 0o755): "older than",
	} {
		_, err := b.AddPython(t.Context(), path)
		var e *BuildError
		if !errors.As(err, &e) || !strings.Contains(e.Message, want) || e.Remedy == "" {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if entries, err := os.ReadDir(b.pythonsDir()); err != nil || len(entries) > 1 { // the lock
		t.Errorf("left: %v, %v", entries, err)
	}
	if _, err := b.FindPython(t.Context(), "3.99"); err == nil {
		t.Error("found what was never added")
	}
}

func TestInstallPythonWhereDownloadsAreOutOfReach(t *testing.T) {
	b := pythonsBuilder(t)
	t.Setenv("UV_PYTHON_INSTALL_MIRROR", "http://127.0.0.1:1")
	fakeUV(t, &b.cfg, "export UV_HTTP_RETRIES=0")
	_, err := b.InstallPython(t.Context(), "3.10", func(string) {})
	var e *BuildError
	if !errors.As(err, &e) || e.Reason != ReasonUnreachable || !strings.Contains(e.Remedy, "python add PATH") || e.Output == "" {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "2.7", "3.10 --x", "-h", "3.99.1.1", "pypy"} {
		if _, err := b.InstallPython(t.Context(), bad, nil); err == nil {
			t.Errorf("%q is installed", bad)
		}
	}
	if _, err := b.InstallPython(t.Context(), "3.99", func(string) {}); err == nil {
		t.Error("3.99 is installed")
	} else {
		t.Log(err)
	}
	noneLeft(t, b)
}

// TestInstallPythonKeepsACopy has a uv that installs what is on this machine, because its own downloads need another network.
func TestInstallPythonKeepsACopy(t *testing.T) {
	source, err := pythonsBuilder(t).AddPython(t.Context(), otherPython(t)) // a copy that may lie anywhere, as uv's do
	if err != nil {
		t.Fatal(err)
	}
	b := pythonsBuilder(t)
	fakeUV(t, &b.cfg, `if [ "$1" = python ]; then mkdir -p "$4" && cp -R `+source.Prefix+` "$4/cpython-3.10.0-linux"; exit; fi`)
	p, err := b.InstallPython(t.Context(), "3.10", func(string) {})
	if err != nil || !p.Copied || p.Minor != "3.10" || p.Origin != "uv 3.10" {
		t.Fatalf("%+v, %v", p, err)
	}
	noneLeft(t, b)
	if _, err := b.InstallPython(t.Context(), "3.10", func(string) {}); err == nil || !strings.Contains(err.Error(), "python remove") {
		t.Errorf("a second time: %v", err)
	}
	if _, err := b.FindPython(t.Context(), "3.10"); err != nil {
		t.Error(err)
	}
}

func TestRunPathsAreMadeRelative(t *testing.T) {
	for _, c := range [][4]string{
		{"/root/py/lib", "/root/py", "bin", "$ORIGIN/../lib"},
		{"/root/py/lib", "/root/py", "lib/python3.10/lib-dynload", "$ORIGIN/../.."},
		{"/usr/lib:/root/py/lib/", "/root/py", "bin", "/usr/lib:$ORIGIN/../lib"},
		{"/root/python/lib", "/root/py", "bin", "/root/python/lib"},
		{"$ORIGIN/../lib", "/root/py", "bin", "$ORIGIN/../lib"},
		{"", "/root/py", "bin", ""},
	} {
		if got := relativePaths(c[0], c[1], c[2]); got != c[3] {
			t.Errorf("%q in %s: %q, want %q", c[0], c[2], got, c[3])
		}
	}
}

func FuzzRelocate(f *testing.F) {
	if binary, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(binary)
	}
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, content []byte) {
		size := len(content)
		relocate(content, "/", "bin")
		if len(content) != size {
			t.Fatal("the size changed")
		}
	})
}
