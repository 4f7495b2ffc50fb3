package cli

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/urfave/cli/v3"

	"apibuilder/admin"
)

// settleTime is how long nothing must have been saved before a deploy begins: editors and checkouts write many files.
const settleTime = 200 * time.Millisecond

// settleMost is how long a deploy waits for that: something in the folder may write all the time, a log for example.
const settleMost = 2 * time.Second

// watcher deploys a program each time that its files change.
type watcher struct {
	app    *app
	read   func() (program, error)
	deploy func(context.Context, admin.DeployRequest) error
	files  *fsnotify.Watcher
	extra  []string // paths to watch besides the program's
	last   [sha256.Size]byte
}

// watch deploys now and at every change until ctx ends, which is no error. What fails is told, and the watching goes on.
func (a *app) watch(ctx context.Context, cmd *cli.Command, deploy func(context.Context, admin.DeployRequest) error) error {
	if cmd.Args().First() == "-" {
		return usagef("--watch cannot watch standard input: name a file or a folder")
	}
	if _, err := os.Stat(cmd.Args().First()); err != nil {
		return err
	}
	files, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch for changes: %w", err)
	}
	defer func() { _ = files.Close() }()
	w := &watcher{
		app: a, deploy: deploy, files: files, extra: []string{cmd.Args().First()},
		read: func() (program, error) { return a.program(cmd) },
	}
	if path := cmd.String("requirements"); path != "" {
		w.extra = append(w.extra, path)
	}
	if err := w.look(ctx); err != nil {
		return err
	}
	return w.follow(ctx)
}

func (w *watcher) follow(ctx context.Context) error {
	settled := time.NewTimer(time.Hour)
	settled.Stop()
	var first time.Time // of what has changed since the last look; zero: nothing
	change := func() {
		if first.IsZero() {
			first = time.Now()
		}
		settled.Reset(min(settleTime, max(0, settleMost-time.Since(first))))
	}
	for {
		select {
		case <-ctx.Done():
			fmt.Fprintln(w.app.stderr, "no longer watching")
			return nil
		case <-w.files.Events:
			change()
		case err := <-w.files.Errors: // events may be lost: look
			fmt.Fprintln(w.app.stderr, "apibuilder: watch for changes:", err)
			change()
		case <-settled.C:
			first = time.Time{}
			if err := w.look(ctx); err != nil {
				return err
			}
		}
	}
}

// look reads the program, and deploys it when it is another one than last time. Its error is one of the command line.
func (w *watcher) look(ctx context.Context) error {
	p, err := w.read()
	if e := w.watchAll(p.dirs); e != nil {
		return e
	}
	if err == nil {
		text, e := json.Marshal(p.DeployRequest)
		sum := sha256.Sum256(text)
		if e == nil && sum == w.last {
			return nil
		}
		w.last = sum
		err = w.deploy(ctx, p.DeployRequest)
	} else {
		w.last = [sha256.Size]byte{}
	}
	if err != nil && ctx.Err() == nil {
		w.app.report(err, false)
	}
	if ctx.Err() == nil {
		fmt.Fprintln(w.app.stderr, "watching for changes; Ctrl-C ends it")
	}
	return nil
}

// watchAll watches the directories of a folder, or those that files are in: editors put a new file in the place of the old.
// Watching a directory again changes nothing, and one that is gone is watched no more.
func (w *watcher) watchAll(dirs []string) error {
	ofFolder := len(dirs) > 0
	if !ofFolder {
		for _, path := range w.extra[:1] {
			dirs = append(dirs, filepath.Dir(path))
			if isDir(path) { // that could not be read
				dirs = append(dirs, path)
			}
		}
	}
	for _, path := range w.extra[1:] {
		dirs = append(dirs, filepath.Dir(path))
	}
	for i, dir := range dirs {
		err := w.files.Add(dir)
		if errors.Is(err, fs.ErrNotExist) && i == 0 && ofFolder { // it went since it was read, and may come again
			return w.watchAll(nil)
		}
		if err != nil && i == 0 {
			return fmt.Errorf("watch %s for changes: %w", dir, err)
		}
	}
	return nil
}
