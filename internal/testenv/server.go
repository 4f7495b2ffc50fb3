package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Binary builds the program at path, as it is shipped but for its version.
func Binary(t testing.TB, path string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "apibuilder").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
}

// DataDir makes dir, where there is none, an empty data directory with the tools in it. Sandboxes pass through it as other users,
// and so they must through the directories above.
func DataDir(t testing.TB, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	Tools(t)
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", filepath.Join(Dir(), "tools"), dir).CombinedOutput(); err != nil {
		t.Fatalf("copy the tools: %v: %s", err, out)
	}
}
