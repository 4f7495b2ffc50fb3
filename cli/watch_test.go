package cli

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fsnotify/fsnotify"

	"apibuilder/admin"
)

// TestAFolderThatGoesWhileItIsReadIsWatched removes a folder between reading and watching it, as a checkout may.
func TestAFolderThatGoesWhileItIsReadIsWatched(t *testing.T) {
	above := t.TempDir()
	folder := filepath.Join(above, "site")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = files.Close() }()
	w := &watcher{
		app: &app{stderr: io.Discard}, files: files, extra: []string{folder},
		read:   func() (program, error) { return program{dirs: []string{folder}}, os.Remove(folder) },
		deploy: func(context.Context, admin.DeployRequest) error { return nil },
	}
	if err := w.look(t.Context()); err != nil {
		t.Fatalf("the watching ended: %v", err)
	}
	if got := files.WatchList(); !slices.Contains(got, above) {
		t.Errorf("watched: %q, want %q among them: the folder may come again", got, above)
	}
}
