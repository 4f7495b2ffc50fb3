package testenv

import (
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed clock/shift.go.txt
var shiftSource string

// ShiftedBinary builds the program at path with a wall clock that tests can set while it runs, see Clock. Nothing else differs from what
// is shipped: package time of the standard library is replaced while it is built (go build -overlay), so that every package has that clock.
// Monotonic time, and with it timers and time.Since, stays the kernel's, as where an operator or NTP sets the time. What does not come from
// package time stays right: the times of files, the clock of PostgreSQL, and those of programs in their sandboxes.
func ShiftedBinary(t testing.TB, path string) {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	lib := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	original, err := os.ReadFile(filepath.Join(lib, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const call, shifted = "sec, nsec, mono := runtimeNow()", "sec, nsec, mono := shiftedNow()"
	if !strings.Contains(string(original), call) {
		t.Fatal("time.Now of this Go has no call of runtimeNow to replace: adapt ShiftedBinary")
	}
	dir := t.TempDir()
	files := map[string]string{}
	for name, text := range map[string]string{
		"time.go": strings.ReplaceAll(string(original), call, shifted), "shift.go": shiftSource,
	} {
		files[filepath.Join(lib, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": files})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", list, "-o", path, "apibuilder")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build with a clock that can be set: %v: %s", err, out)
	}
}

// Clock is the file by which a process of a ShiftedBinary has its wall clock set.
type Clock struct {
	page []byte
	path string
}

// NewClock makes a clock that is right.
func NewClock(t testing.TB) *Clock {
	t.Helper()
	c := &Clock{path: filepath.Join(t.TempDir(), "clock")}
	if err := os.WriteFile(c.path, make([]byte, 8), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(c.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c.page, err = unix.Mmap(int(file.Fd()), 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(c.page) })
	return c
}

// Env is the variable of the environment that gives a process this clock.
func (c *Clock) Env() string { return "APIBUILDER_TEST_CLOCK=" + c.path }

// Set sets the clock wrong by so much, at once.
func (c *Clock) Set(by time.Duration) { binary.NativeEndian.PutUint64(c.page, uint64(by)) }
