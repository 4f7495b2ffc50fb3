// Package pythonenv turns the text of a requirements file into an environment: a directory of installed packages with
// compiled byte-code, read-only, owned by root, and named by a hash over the interpreter and the locked, hash-pinned
// requirements, so that equal requirements share one. uv resolves and installs in a jail, as an unprivileged user
// that sees nothing but a mirror of the configured package index. Only wheels are installed, and no package's code runs
// while an environment is built.
//
// The configured directory holds one directory for each environment, and beside them .scratch (builds under way), .cache
// (uv's), .inputs (which environment a requirements text led to) and .locks. Files are copied from uv's cache, never hard
// linked: a finished environment shares no inode with anything that the build user can write.
package pythonenv

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/egress"
)

// MountPoint is where a sandbox mounts an environment. Byte-code and tracebacks name files below it.
const MountPoint = "/env"

// layout is part of every key: raise it when environments are built in another way.
const layout = "1"

// Config says how environments are built. Dir, UV, Jail and BuildUID are needed.
type Config struct {
	Dir          string        // holds the environments; its parents must be enterable by everybody
	UV           string        // path of the uv executable
	BuildUID     uint32        // unprivileged user that uv and the compiler run as; nothing else should run as it
	BuildGID     uint32        // its only group
	Interpreters []string      // paths of Python interpreters to offer besides those in /usr/bin and /usr/local/bin
	Pythons      string        // directory of interpreters that were added; empty: "pythons" beside Dir
	Timeout      time.Duration // of one build, without the wait for a free worker; 0: ten minutes
	Workers      int           // builds at the same time, the others wait; 0: 2
	Jail         Jail          // where uv and the compiler run; the caller starts and stops it
	IndexURL     string        // simple repository API to install from, may hold credentials; empty: only what follows
	ExtraIndexes []string      // further ones, asked before it: the first that has a package is the only one for it
	CertFile     string        // CA bundle for the indexes, besides the system's
	FindLinks    []string      // further places to look for wheels: directories and URLs
	AllowSdist   bool          // build packages from source where there is no wheel, which runs their code in the jail
	Allow        Allow         // what authors may require besides packages of the index
	// GitCredentials are the operator's for repositories that Allow.Git names, see ParseGitCredentials. They are used in this process
	// alone: no build sees them.
	GitCredentials []*url.URL
	GitSSH         *GitSSH // the same for Allow.SSH
	Offline        bool    // install only from uv's cache and FindLinks
	MaxBytes       int64   // of an environment, and of what a build has on the disk besides uv's cache; 0: 8 GiB
	MaxDownload    int64   // of one build; 0: 4 GiB
	// Log gets what the operator may want to know and no build fails for, a line at a time, from several goroutines; may be nil.
	Log func(line string)
}

// indexes are all of them by preference.
func (c Config) indexes() []string {
	all := slices.Clone(c.ExtraIndexes)
	if c.IndexURL != "" {
		all = append(all, c.IndexURL)
	}
	return all
}

// Builder builds environments. All methods may be called concurrently, after Start.
type Builder struct {
	cfg          Config
	interpreters interpreterCache
	flights      flights
	workers      chan struct{}
	scrub        scrubber
	up           *upstream
	syncing      sync.Mutex
	sound        sync.Map // path of a shared file -> fileState: when it was last read and found whole
	reserve      uint64   // bytes that a build must leave free on the disk
	flush        func(dir string) error
}

// Request asks for an environment.
type Request struct {
	Requirements string            // text of a requirements file, at most 64 KiB and 500 lines
	Python       string            // "3.11", "3.11.2" or a specifier like ">=3.10,<3.13"; empty: the system's default
	Lock         string            // Environment.Lock of before: installed as it is, the fields above are not looked at
	Sdists       []string          // names of packages to build from source, or AllSources; only where Allow has Sdists
	Upgrade      bool              // resolve anew, even where the same requirements were resolved before
	Progress     func(line string) // gets what happens, from the goroutine that called Ensure; may be nil
}

// New does no I/O.
func New(cfg Config) *Builder {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Minute
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 2
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 8 << 30
	}
	if cfg.MaxDownload <= 0 {
		cfg.MaxDownload = 4 << 30
	}
	if cfg.Log == nil {
		cfg.Log = func(string) {}
	}
	return &Builder{
		cfg:     cfg,
		flights: flights{byInput: map[string]*flight{}},
		workers: make(chan struct{}, cfg.Workers),
		scrub:   newScrubber(cfg),
		reserve: 512 << 20,
		flush:   flushAll,
	}
}

// Start prepares the directory, removes what builds of a dead process left, and finds the interpreters. Its error names
// what the operator has to change. It may be called while another process builds in the same directory.
func (b *Builder) Start(ctx context.Context) error {
	dir, err := filepath.Abs(b.cfg.Dir)
	if err != nil {
		return fmt.Errorf("find the directory of environments: %w", err)
	}
	b.cfg.Dir = dir
	if b.cfg.BuildUID == 0 || b.cfg.BuildGID == 0 {
		return errors.New("start the builder of environments: its user and group must not be root")
	}
	if b.cfg.Jail == nil {
		return errors.New("start the builder of environments: there is no jail for it")
	}
	if err := b.makeDirs(); err != nil {
		return err
	}
	secret, err := b.secret()
	if err != nil {
		return err
	}
	if b.up, err = newUpstream(b.cfg, secret); err != nil {
		return fmt.Errorf("start the builder of environments: %w", err)
	}
	if err := b.cfg.checkGit(); err != nil {
		return fmt.Errorf("start the builder of environments: %w", err)
	}
	if at, err := firstClosed(b.cfg.Dir); err != nil {
		return fmt.Errorf("start the builder of environments: %w: run chmod o+x %s, or choose another --data-dir", err, at)
	}
	if at, err := firstClosed(b.cfg.UV); err != nil {
		return fmt.Errorf("start the builder of environments: uv cannot be run by the build user: %w: run chmod o+x %s", err, at)
	}
	if err := b.removeDeadScratch(); err != nil {
		return err
	}
	b.Interpreters(ctx)
	return nil
}

// Stop ends all builds and waits until none of their processes is left, or until ctx ends. It may be called twice.
func (b *Builder) Stop(ctx context.Context) error {
	err := b.flights.stop(ctx)
	if b.up != nil {
		b.up.close()
	}
	return err
}

// Reached tells what builds connected to since Start, the operator's own indexes among it.
func (b *Builder) Reached() egress.Report {
	if b.up == nil {
		return egress.Report{}
	}
	return b.up.gate.Report(Egress)
}

// EgressUses returns what of Reached came since it was called last, see egress.Gate.Take.
func (b *Builder) EgressUses() []egress.Use {
	if b.up == nil {
		return nil
	}
	return b.up.gate.Take()
}

// Ensure returns the environment for a request and builds it when it does not exist. The same requirements with the same
// interpreter and index are not resolved again unless Upgrade says so; a lock never is. Requests for the same environment at the same time, also from other
// processes, are one build. A build ends when all who wait for it have gone.
//
// The error is a *BuildError when the request cannot be fulfilled; it wraps the context's cause when ctx ended.
func (b *Builder) Ensure(ctx context.Context, req Request) (Environment, error) {
	if req.Lock != "" {
		return b.ensureLocked(ctx, req)
	}
	plan, err := b.planOf(ctx, req)
	if err != nil {
		return Environment{}, err
	}
	if env, ok := b.remembered(ctx, plan.input); ok && !req.Upgrade {
		return env, nil
	}
	return b.flights.do(ctx, plan.input, req.Progress, func(ctx context.Context, say func(string)) (Environment, error) {
		return b.build(ctx, plan, say)
	})
}

// Lookup returns a finished environment from disk. It reads one small file.
func (b *Builder) Lookup(key string) (Environment, bool) {
	env, err := readEnvironment(b.cfg.Dir, key)
	return env, err == nil
}

const (
	scratchDir = ".scratch"
	cacheDir   = ".cache"
	inputsDir  = ".inputs"
	locksDir   = ".locks"
	usedDir    = ".used"
)

func (b *Builder) path(parts ...string) string {
	return filepath.Join(append([]string{b.cfg.Dir}, parts...)...)
}

func (b *Builder) makeDirs() error {
	for _, d := range []struct {
		name     string
		mode     os.FileMode
		uid, gid int
	}{
		{".", 0o755, 0, 0},
		{scratchDir, 0o711, 0, 0},
		{inputsDir, 0o700, 0, 0},
		{locksDir, 0o700, 0, 0},
		{filesDir, 0o700, 0, 0},
		{usedDir, 0o700, 0, 0},
		{durableDir, 0o700, 0, 0},
		{bytecodeDir, 0o700, 0, 0},
		{cacheDir, 0o700, int(b.cfg.BuildUID), int(b.cfg.BuildGID)},
	} {
		path := b.path(d.name)
		if err := os.MkdirAll(path, 0o711); err != nil {
			return fmt.Errorf("make the directory of environments: %w", err)
		}
		if info, err := os.Lstat(path); err != nil || !info.IsDir() {
			return fmt.Errorf("prepare the directory of environments: %s is not a directory", path)
		}
		if err := errors.Join(os.Lchown(path, d.uid, d.gid), os.Chmod(path, d.mode)); err != nil {
			return fmt.Errorf("prepare the directory of environments: %w", err)
		}
	}
	return nil
}

// secret signs addresses in pages that uv's cache keeps, so it stays the same for a directory.
func (b *Builder) secret() ([]byte, error) {
	path := b.path(locksDir, "secret")
	for range 2 {
		secret, err := os.ReadFile(path)
		if err == nil && len(secret) == sha256.Size {
			return secret, nil
		}
		aside, err := os.CreateTemp(b.path(locksDir), ".new-")
		if err != nil {
			return nil, fmt.Errorf("make the builder's secret: %w", err)
		}
		defer os.Remove(aside.Name())
		secret = make([]byte, sha256.Size)
		_, _ = rand.Read(secret) // never fails
		if _, err = aside.Write(secret); err == nil {
			err = aside.Sync()
		}
		if err = errors.Join(err, aside.Close()); err == nil {
			err = os.Link(aside.Name(), path) // only the first of several processes succeeds
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("make the builder's secret: %w", err)
		}
	}
	return nil, fmt.Errorf("read the builder's secret: %s is damaged: remove it", path)
}

// removeDeadScratch removes all scratch directories unless some process is building: then the next start does it.
func (b *Builder) removeDeadScratch() error {
	unlock, err := tryLock(b.path(locksDir, "scratch"))
	if errors.Is(err, errLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	entries, err := os.ReadDir(b.path(scratchDir))
	if err != nil {
		return fmt.Errorf("list the scratch directories: %w", err)
	}
	for _, e := range entries {
		if err := removeWithWriter(b.path(scratchDir, e.Name())); err != nil {
			return fmt.Errorf("remove the scratch of a dead build: %w", err)
		}
	}
	return nil
}

// removeWithWriter removes a directory in which a process that is about to end may still make files: the kernel ends those of
// a dead build's jail, but not before it lets go of the lock.
func removeWithWriter(dir string) error {
	const attempts, pause = 100, 50 * time.Millisecond
	for n := 1; ; n++ {
		err := removeTree(dir)
		if !errors.Is(err, unix.ENOTEMPTY) || n == attempts {
			return err
		}
		time.Sleep(pause)
	}
}

// firstClosed returns the first directory on the way to path that an unprivileged user cannot enter.
func firstClosed(path string) (string, error) {
	var way []string
	for d := filepath.Dir(path); ; d = filepath.Dir(d) {
		way = append(way, d)
		if d == filepath.Dir(d) {
			break
		}
	}
	for i := len(way) - 1; i >= 0; i-- {
		info, err := os.Stat(way[i])
		if err != nil {
			return way[i], fmt.Errorf("look at %s: %w", way[i], err)
		}
		if info.Mode().Perm()&0o001 == 0 {
			return way[i], fmt.Errorf("%s cannot be entered by unprivileged users", way[i])
		}
	}
	return "", nil
}
