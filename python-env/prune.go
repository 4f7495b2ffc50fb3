package pythonenv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Info is what there is to know of an environment on the disk.
type Info struct {
	Key      string
	Path     string
	Python   string // version; empty when Broken is set
	Packages int
	Bytes    int64 // of all its files, those too that others share
	Created  time.Time
	LastUsed time.Time // when it was last asked for, or built
	Broken   string    // why it is none; empty: it is one
}

// List looks at all environments, the one that was used last first.
func (b *Builder) List() ([]Info, error) {
	dirs, err := os.ReadDir(b.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("list the environments: %w", err)
	}
	var all []Info
	for _, dir := range dirs {
		if keyPattern.MatchString(dir.Name()) {
			all = append(all, b.info(dir.Name()))
		}
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Or(b.LastUsed.Compare(a.LastUsed), strings.Compare(a.Key, b.Key)) })
	return all, nil
}

func (b *Builder) info(key string) Info {
	i := Info{Key: key, Path: b.path(key)}
	m, err := readManifest(b.cfg.Dir, key)
	if err != nil {
		i.Broken = err.Error()
		return i
	}
	_, packages := LockedPackages(m.Lock)
	i.Python, i.Packages, i.Bytes, i.Created = m.Interpreter.Version, len(packages), m.Bytes, m.Created
	i.LastUsed = i.Created
	if stamp, err := os.Stat(b.path(usedDir, key)); err == nil && stamp.ModTime().After(i.LastUsed) {
		i.LastUsed = stamp.ModTime().UTC()
	}
	return i
}

// DiskBytes is what all environments and the caches (uv's, and of byte-code) take of the disk together, shared files counted once.
func (b *Builder) DiskBytes() (environments, cache int64, err error) {
	envs, err := measureOnce(b.cfg.Dir, cacheDir, bytecodeDir, scratchDir)
	if err != nil {
		return 0, 0, err
	}
	sizes := map[string]int64{}
	for _, dir := range []string{scratchDir, cacheDir, bytecodeDir} {
		size, err := measure(b.path(dir))              // builds may change the first two just now, in any way
		if err != nil && !errors.Is(err, errTooDeep) { // what a package made too deep goes with the rest, and is not worth more
			return 0, 0, err
		}
		sizes[dir] = size.bytes
	}
	return envs + sizes[scratchDir], sizes[cacheDir] + sizes[bytecodeDir], nil
}

func measureOnce(dir string, without ...string) (int64, error) {
	var sum int64
	seen := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // a build's, just gone
		}
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains(without, d.Name()) {
			return filepath.SkipDir
		}
		var s unix.Stat_t
		if unix.Lstat(path, &s) == nil && (s.Nlink == 1 || d.IsDir() || !seen[s.Ino]) {
			seen[s.Ino] = true
			sum += s.Blocks * 512
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure the environments: %w", err)
	}
	return sum, nil
}

// grace is how long an environment stays that somebody has just asked for and not started yet.
const grace = time.Hour

// Policy says which environments nobody needs any more. One that is in use or was asked for within the last hour stays in
// any case.
type Policy struct {
	Keep       time.Duration   // those that were last used longer ago go; 0: none goes by age
	MaxBytes   int64           // those that were used longest ago go until the rest has no more; 0: no bound
	CacheBytes int64           // uv's cache is emptied when it has more, and old byte-code goes; 0: no bound
	InUse      map[string]bool // keys that stay
	DryRun     bool            // only say what would go
}

// Pruned is an environment that went, or would go.
type Pruned struct {
	Info
	Reason string // "age", "size" or "broken"
}

// Prune removes what the policy says. It may run beside builds: one that is being used or built stays.
func (b *Builder) Prune(ctx context.Context, p Policy) ([]Pruned, error) {
	all, err := b.List()
	if err != nil {
		return nil, err
	}
	var gone []Pruned
	for _, c := range superfluous(all, p, time.Now()) {
		if err := ctx.Err(); err != nil {
			return gone, err
		}
		removed := true
		if !p.DryRun {
			if removed, err = b.remove(c.Info); err != nil {
				return gone, err
			}
		}
		if removed {
			gone = append(gone, c)
		}
	}
	if p.DryRun {
		return gone, nil
	}
	_, err = b.sweepFiles(ctx)
	return gone, errors.Join(err, b.sweepNotes(), b.sweepBytecode(p.Keep, p.CacheBytes), b.boundCache(p.CacheBytes))
}

// superfluous picks those that go. The environments come by last use.
func superfluous(all []Info, p Policy, now time.Time) []Pruned {
	var gone []Pruned
	var kept int64
	for _, i := range all {
		kept += i.Bytes
	}
	for _, i := range slices.Backward(all) {
		unused := now.Sub(i.LastUsed)
		reason := ""
		switch {
		case p.InUse[i.Key] || unused < grace:
		case i.Broken != "":
			reason = "broken"
		case p.Keep > 0 && unused > p.Keep:
			reason = "age"
		case p.MaxBytes > 0 && kept > p.MaxBytes:
			reason = "size"
		}
		if reason != "" {
			gone = append(gone, Pruned{i, reason})
			kept -= i.Bytes
		}
	}
	return gone
}

// remove takes one environment away unless somebody has a lock on it or has asked for it since it was looked at.
func (b *Builder) remove(i Info) (bool, error) {
	unlock, err := tryLock(b.path(locksDir, i.Key))
	if errors.Is(err, errLocked) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unlock()
	if b.info(i.Key).LastUsed.After(i.LastUsed) {
		return false, nil
	}
	aside, err := os.MkdirTemp(b.path(scratchDir), "gone-")
	if err != nil {
		return false, fmt.Errorf("remove an environment: %w", err)
	}
	// First out of the way in one step, so that nobody finds a part of it.
	if err := os.Rename(b.path(i.Key), filepath.Join(aside, "env")); err != nil {
		return false, fmt.Errorf("remove an environment: %w", errors.Join(err, os.Remove(aside)))
	}
	_ = os.Remove(b.path(usedDir, i.Key))
	_ = os.Remove(b.path(durableDir, i.Key))
	if err := removeTree(aside); err != nil {
		return true, fmt.Errorf("remove an environment: %w", err)
	}
	return true, nil
}

// sweepNotes removes what is remembered of environments that have gone.
func (b *Builder) sweepNotes() error {
	notes, err := os.ReadDir(b.path(inputsDir))
	if err != nil {
		return fmt.Errorf("list the notes on environments: %w", err)
	}
	for _, note := range notes {
		path := b.path(inputsDir, note.Name())
		key, err := os.ReadFile(path)
		if err != nil || !keyPattern.MatchString(string(key)) {
			continue
		}
		if _, err := os.Lstat(b.path(string(key))); errors.Is(err, os.ErrNotExist) {
			_ = os.Remove(path)
		}
	}
	return nil
}

// boundCache empties uv's cache when it is too large and nobody builds. What is in it can be fetched again.
func (b *Builder) boundCache(limit int64) error {
	if limit <= 0 {
		return nil
	}
	size, err := measure(b.path(cacheDir))
	if err == nil && size.bytes <= limit && size.files <= maxFiles {
		return nil
	}
	unlock, err := tryLock(b.path(locksDir, "scratch")) // every build holds it, shared
	if errors.Is(err, errLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if err := removeTree(b.path(cacheDir, "uv")); err != nil {
		return fmt.Errorf("empty uv's cache: %w", err)
	}
	return nil
}

// use returns a finished environment and notes that it was asked for. It waits for whoever removes it just now.
func (b *Builder) use(ctx context.Context, key string) (Environment, bool) {
	if _, err := readManifest(b.cfg.Dir, key); err != nil {
		return Environment{}, false
	}
	unlock, err := lockShared(ctx, b.path(locksDir, key))
	if err != nil {
		return Environment{}, false
	}
	defer unlock()
	env, ok := b.Lookup(key)
	if ok {
		b.touch(key)
	}
	return env, ok
}

// touch notes that an environment was asked for. A note that is lost makes it go earlier.
func (b *Builder) touch(key string) {
	path, now := b.path(usedDir, key), time.Now()
	if os.Chtimes(path, now, now) == nil {
		return
	}
	if f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600); err == nil {
		f.Close()
	}
}
