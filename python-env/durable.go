package pythonenv

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// durableDir has an empty file for every environment that is on the disk whole. Writing out an environment takes as long as
// everything else that waits to be written, so nobody waits for it: one that was built before the machine was last started
// and has no such file counts as absent. While the machine runs, the page cache has what is not written yet.
const durableDir = ".durable"

var bootID = sync.OnceValue(func() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text))
})

var errNotDurable = errors.New("the machine stopped before all of it was on the disk")

// checkDurable refuses an environment of an earlier boot that may have lost files.
func checkDurable(dir string, m manifest) error {
	if m.Boot == "" || m.Boot == bootID() { // the first: written out before it got its name
		return nil
	}
	if _, err := os.Stat(dir + "/" + durableDir + "/" + m.Key); err != nil {
		return errNotDurable
	}
	return nil
}

// flushAll writes out everything of the file system that a directory is on (syncfs(2)).
func flushAll(dir string) error { return withDir(dir, unix.Syncfs) }

// makeDurable writes out an environment, and then that it is. Failing costs a build after the machine's next start.
func (b *Builder) makeDurable(key string) error {
	b.syncing.Lock() // one after the other: together they would only wait for each other
	defer b.syncing.Unlock()
	if err := b.flush(b.cfg.Dir); err != nil {
		return fmt.Errorf("write the environment to disk: %w", err)
	}
	f, err := os.OpenFile(b.path(durableDir, key), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("note that the environment is on disk: %w", err)
	}
	return f.Close()
}
