package pythonenv

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inSandbox runs Python code in nsjail with the environment where sandboxes have it.
func inSandbox(t *testing.T, env Environment, code string) string {
	t.Helper()
	user := strconv.Itoa(buildUser + 1)
	argv := []string{
		"-Mo", "-Q", "--user", "1000:" + user + ":1", "--group", "1000:" + user + ":1", "--rlimit_as", "inf",
		"--rlimit_nofile", "256", "-T", "/tmp", "-R", env.Path + ":" + MountPoint,
	}
	for _, path := range append([]string{"/lib", "/lib64", "/usr/lib"}, env.Interpreter.Mounts...) {
		if _, err := os.Stat(path); err == nil {
			argv = append(argv, "-R", path)
		}
	}
	out, err := exec.Command(tools.Nsjail, append(argv, "--", MountPoint+"/bin/python", "-I", "-v", "-c", code)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out[max(0, len(out)-3000):])
	}
	return string(out)
}

func TestEnvironmentServesFromItsMount(t *testing.T) {
	b := sharedBuilder(t)
	env := ensure(t, b, "Pillow==9.5.0\n")
	out := inSandbox(t, env, `if 1:
		import fastapi, uvicorn, uvloop, httptools, websockets, multipart, PIL, sys
		print("file", fastapi.__file__, fastapi.FastAPI.get.__code__.co_filename)
		print("pillow", PIL.__version__, "prefix", sys.prefix)
		try:
			open("/env/x", "w")
		except OSError as e:
			print("write:", e.strerror)`)
	minor := env.Interpreter.Minor
	for _, want := range []string{
		"file /env/lib/python" + minor + "/site-packages/fastapi/__init__.py /env/lib/python" + minor + "/site-packages/fastapi/applications.py",
		"pillow 9.5.0 prefix /env", "write: Read-only file system",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out[max(0, len(out)-2000):])
		}
	}
	compiled := 0
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "# code object from '/env/") {
			continue
		}
		if compiled++; !strings.Contains(line, ".pyc'") {
			t.Errorf("compiled again: %s", line)
		}
	}
	if compiled < 200 {
		t.Errorf("only %d modules came from /env", compiled)
	}
	if again := ensure(t, b, "pillow == 9.5.0  # the same"); !again.Reused || again.Key != env.Key {
		t.Errorf("the same requirements led to %+v", again)
	}
}

func TestEnvironmentIsRootsAndReadOnly(t *testing.T) {
	env := ensure(t, sharedBuilder(t), "Pillow==9.5.0\n")
	err := filepath.WalkDir(env.Path, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		isLink := info.Mode()&fs.ModeSymlink != 0
		if stat.Uid != 0 || stat.Gid != 0 || !isLink && info.Mode()&(0o222|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 {
			t.Errorf("%s: %v, uid %d, %d names", path, info.Mode(), stat.Uid, stat.Nlink)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(env.Path + "/bin/python"); err != nil || target != env.Interpreter.Path {
		t.Errorf("bin/python leads to %q, %v", target, err)
	}
	// Nothing may remember where it was built.
	if out, err := exec.Command("grep", "-rlF", scratchDir+"/", env.Path).Output(); len(out) > 0 {
		t.Errorf("the build path is in %s (%v)", out, err)
	}
	if found, ok := sharedBuilder(t).Lookup(env.Key); !ok || found.Lock != env.Lock || found.Interpreter.Path != env.Interpreter.Path {
		t.Errorf("Lookup: %+v, %t", found, ok)
	}
	for _, key := range []string{"", "..", "../envs/" + env.Key, strings.Repeat("0", 64)} {
		if _, ok := sharedBuilder(t).Lookup(key); ok {
			t.Errorf("Lookup(%q) found something", key)
		}
	}
}

func TestTwoVersionsOfOnePackage(t *testing.T) {
	b := sharedBuilder(t)
	for _, version := range []string{"9.5.0", "10.4.0"} {
		env := ensure(t, b, "pillow=="+version)
		if out := inSandbox(t, env, "import PIL; print('is', PIL.__version__)"); !strings.Contains(out, "is "+version) {
			t.Errorf("pillow %s reports another version", version)
		}
	}
	noneLeft(t, b)
}

func TestReuseNeedsNoUV(t *testing.T) {
	env := ensure(t, sharedBuilder(t), "pillow==9.5.0")
	cfg := sharedBuilder(t).cfg
	cfg.UV = filepath.Join(tempDir(t), "no-uv") // as after a restart, and nothing to resolve with
	b := started(t, cfg)
	began := time.Now()
	if again := ensure(t, b, "pillow==9.5.0\n"); again.Key != env.Key || !again.Reused {
		t.Errorf("%+v", again)
	}
	t.Logf("a redeploy took %s", time.Since(began)) // bench/environment has it beside its peers
}

func TestRefusalsOfTheIndexAreExplained(t *testing.T) {
	b := sharedBuilder(t)
	cases := []struct {
		requirements, reason, message string
		line                          int
	}{
		{"fastapi==0.95.0\npydantic>=2.8\nstarlette==0.40.0", ReasonConflict, "starlette", 0},
		{"fastapi==0.95.0\npydantic>=2.8", ReasonConflict, "pydantic", 0},
		{"\nno-such-package-of-apibuilder", ReasonNotFound, "no-such-package-of-apibuilder", 2},
		{"requests==99.0", ReasonNotFound, "requests", 1},
		{"docopt==0.6.2", ReasonNoWheel, "docopt", 1},
		{"pywin32", ReasonNoWheel, "pywin32", 1},
		{"requests==2.32.3 --hash=" + sum, ReasonHashMismatch, "requests 2.32.3", 1},
		{"requests ; python_version >> '3'", ReasonRefused, "", 0},
		{"-e .", ReasonRefused, "-e", 1},
	}
	for _, c := range cases {
		_, err := b.Ensure(t.Context(), Request{Requirements: c.requirements, Python: systemMinor(t, b)})
		var e *BuildError
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", c.requirements, err)
			continue
		}
		if e.Reason != c.reason || !strings.Contains(e.Message+e.Remedy, c.message) || e.Line != c.line || e.Remedy == "" {
			t.Errorf("%q: %s at line %d: %v\n%s", c.requirements, e.Reason, e.Line, e, e.Output)
		}
	}
	noneLeft(t, b)
}

func TestHashesOfTheAuthorAreKept(t *testing.T) {
	b := sharedBuilder(t)
	// The wheel of six 1.16.0; the index has a source distribution with another hash beside it.
	const six = "sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254"
	lock, err := b.Lock(t.Context(), Request{Requirements: "six==1.16.0 --hash=" + six, Python: systemMinor(t, b)})
	if err != nil || !strings.Contains(lock, "six==1.16.0 --hash="+six+"\n") {
		t.Errorf("%v; the lock is\n%s", err, lock)
	}
}

func TestAnIndexThatIsDownShowsNoCredentials(t *testing.T) {
	cfg := testConfig(filepath.Join(tempDir(t), "envs"))
	cfg.IndexURL, cfg.FindLinks = "http://operator:s3cret-word@127.0.0.1:1/simple", nil
	fakeUV(t, &cfg, `echo "https://x:y@h/ $UV_DEFAULT_INDEX s3cret-word $*" >&2; export UV_HTTP_RETRIES=0`)
	b := started(t, cfg)
	var said []string
	_, err := b.Ensure(t.Context(), Request{Progress: func(l string) { said = append(said, l) }})
	var e *BuildError
	if !errors.As(err, &e) || e.Reason != ReasonUnreachable {
		t.Fatalf("%v\n%v", err, said)
	}
	all := strings.Join(said, "\n") + e.Output + e.Error()
	if strings.Contains(all, "s3cret") || strings.Contains(all, "x:y@") || !strings.Contains(all, "127.0.0.1") {
		t.Errorf("uv's words are %s", all)
	}
}

func TestNoSuchInterpreter(t *testing.T) {
	_, err := sharedBuilder(t).Ensure(t.Context(), Request{Python: "3.1"})
	var e *BuildError
	if !errors.As(err, &e) || e.Reason != ReasonNoInterpreter || !strings.Contains(e.Remedy, "3.") {
		t.Errorf("%v", err)
	}
}

func TestEqualRequestsAreOneBuild(t *testing.T) {
	dir := tempDir(t)
	log := filepath.Join(dir, "log")
	if err := errors.Join(os.WriteFile(log, nil, 0o666), os.Chmod(log, 0o666)); err != nil {
		t.Fatal(err)
	}
	cfg := smallConfig(t, filepath.Join(dir, "envs"))
	fakeUV(t, &cfg, `echo "$1 $2" >> `+log, log)
	one, other := started(t, cfg), started(t, cfg) // two processes with one directory
	results := make(chan error)
	keys := make(chan string, 6)
	for i := range 6 {
		go func() {
			b := one
			if i%2 == 1 {
				b = other
			}
			env, err := b.Ensure(context.Background(), Request{Requirements: "six"})
			keys <- env.Key
			results <- err
		}()
	}
	for range 6 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	close(keys)
	for key := range keys {
		if _, ok := one.Lookup(key); !ok {
			t.Errorf("no environment %q", key)
		}
	}
	text, err := os.ReadFile(log)
	if n := strings.Count(string(text), "pip sync"); err != nil || n != 1 {
		t.Errorf("installed %d times: %s", n, text)
	}
	if n := strings.Count(string(text), "pip compile"); n > 2 {
		t.Errorf("resolved %d times by two processes", n)
	}
	noneLeft(t, one)
}

// TestABuildThatCannotBeNoted has no place for the note that leads from requirements to their environment, as on a full disk.
func TestABuildThatCannotBeNoted(t *testing.T) {
	cfg := smallConfig(t, filepath.Join(tempDir(t), "envs"))
	said := make(chan string, 10)
	cfg.Log = func(line string) { said <- line }
	b := started(t, cfg)
	if err := os.Remove(b.path(inputsDir)); err != nil {
		t.Fatal(err)
	}
	env := ensure(t, b, "six")
	select {
	case line := <-said:
		if !strings.Contains(line, "note the environment") {
			t.Error(line)
		}
	default:
		t.Error("nothing was logged")
	}
	if again := ensure(t, b, "six"); again.Key != env.Key || !again.Reused {
		t.Errorf("%+v", again)
	}
}
