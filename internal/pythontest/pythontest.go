// Package pythontest finds a second Python for tests, in a place where only root can read it.
package pythontest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Closed310 returns the path of a Python 3.10 with a prefix of its own that no unprivileged user can reach, as one below
// root's home is. scripts/test.sh finds it or installs it; one that is open is copied to a closed directory in dir.
func Closed310(t testing.TB, dir string) string {
	t.Helper()
	real := find()
	if real == "" {
		t.Fatal("this test needs a Python 3.10 with a prefix of its own: run scripts/test.sh, or set APIBUILDER_TEST_PYTHON310")
	}
	if isClosed(real) {
		return real
	}
	closed := filepath.Join(dir, "closed")
	prefix := filepath.Dir(filepath.Dir(real))
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", prefix, closed).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "chown", "-R", "0:0", closed).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(closed, filepath.Base(prefix), "bin", filepath.Base(real))
}

func find() string {
	places := []string{os.Getenv("APIBUILDER_TEST_PYTHON310")}
	for _, pattern := range []string{
		"/opt/apibuilder-python/cpython-3.10*/bin/python3.10",
		filepath.Join(os.Getenv("HOME"), ".pyenv/versions/3.10*/bin/python3.10"),
	} {
		found, _ := filepath.Glob(pattern) // the pattern is valid unless HOME is none
		places = append(places, found...)
	}
	for _, path := range places {
		if real, err := filepath.EvalSymlinks(path); err == nil && path != "" {
			return real
		}
	}
	return ""
}

func isClosed(path string) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o001 == 0 {
			return true
		}
		if dir == "/" {
			return false
		}
	}
}
