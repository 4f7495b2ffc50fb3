package cli

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

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

// TestAFolderThatIsAlwaysWrittenIsDeployed although there is no moment in which nothing changes.
func TestAFolderThatIsAlwaysWrittenIsDeployed(t *testing.T) {
	folder := t.TempDir()
	files, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = files.Close() }()
	if err := files.Add(folder); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithTimeout(t.Context(), 5*settleMost)
	defer end()
	deployed := false
	w := &watcher{
		app: &app{stderr: io.Discard}, files: files, extra: []string{folder},
		read: func() (program, error) { return program{dirs: []string{folder}}, nil },
		deploy: func(context.Context, admin.DeployRequest) error {
			deployed = true
			end()
			return nil
		},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.follow(ctx)
	}()
	for tick := time.NewTicker(settleTime / 10); ctx.Err() == nil; <-tick.C {
		if err := os.WriteFile(filepath.Join(folder, "log"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	if !deployed {
		t.Error("it was never deployed")
	}
}
