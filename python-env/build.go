package pythonenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// plan is what a request comes to.
type plan struct {
	interp   Interpreter
	reqs     []requirement
	lock     lock // instead of requirements
	sources  sources
	lockOnly bool   // install nothing
	input    string // hash over all that decides what it resolves to
}

// scratch is the working directory of one build. Its top belongs to root; work, home and tmp to the build user, and env, which is there
// from makeVenv on.
type scratch struct {
	top, work, home, tmp, env string
	cache                     string // uv's; of this build alone where code of packages runs
	cacheMount                string // what of it the jail sees, the build user's
	sources                   sources
	chosen                    sources  // of these, those that the request named, for the lock
	wheels                    []string // of this machine, that requirements name by path
	mirror                    *mirror  // the package index, as this build sees it
}

// requirements is where uv reads what to install.
func (s scratch) requirements() string { return filepath.Join(s.top, "requirements.txt") }

var errTimedOut = errors.New("the build took too long")

// build resolves a plan and installs what it resolves to, unless that exists.
func (b *Builder) build(ctx context.Context, p plan, say func(string)) (Environment, error) {
	select {
	case b.workers <- struct{}{}:
	default:
		say("waiting for other builds")
		select {
		case b.workers <- struct{}{}:
		case <-ctx.Done():
			return Environment{}, fmt.Errorf("wait for other builds: %w", context.Cause(ctx))
		}
	}
	defer func() { <-b.workers }()
	ctx, cancel := context.WithTimeoutCause(ctx, b.cfg.Timeout, errTimedOut)
	defer cancel()
	env, err := b.buildInScratch(ctx, p, say)
	if errors.Is(err, errDiskFull) {
		// What filled it lies in uv's cache. A build that runs beside this one is about to fail for the same reason.
		_ = removeTree(b.path(cacheDir, "uv"))
	}
	return env, b.explain(err)
}

// openScratch makes a working directory; remove takes it away, and lets go of what keeps others from removing it.
func (b *Builder) openScratch(ctx context.Context, from sources) (s scratch, remove func(), err error) {
	unlock, err := lockShared(ctx, b.path(locksDir, "scratch"))
	if err != nil {
		return s, nil, err
	}
	if s, err = b.makeScratch(from); err != nil {
		unlock()
		return s, nil, err
	}
	return s, func() { _ = removeTree(s.top); unlock() }, nil
}

func (b *Builder) buildInScratch(ctx context.Context, p plan, say func(string)) (Environment, error) {
	s, remove, err := b.openScratch(ctx, b.sourcesOf(p))
	if err != nil {
		return Environment{}, err
	}
	defer remove()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.mirror = &mirror{up: b.up, max: b.cfg.MaxDownload, say: func(line string) { say(b.scrub.line(line)) }, exceed: func() {
		cancel(tooLarge("downloaded", b.cfg.MaxDownload))
	}}
	s.chosen = p.sources
	if s.wheels, err = wheelsAt(p.refs()); err != nil {
		return Environment{}, err
	}
	lock, err := b.lockOf(ctx, s, p, say)
	if err != nil || p.lockOnly {
		return Environment{Lock: lock.text, Interpreter: p.interp}, err
	}
	env, err := b.installOnce(ctx, s, p.interp, lock, say)
	if err != nil {
		return Environment{}, err
	}
	if err := b.remember(p.input, env.Key); err != nil { // on a full disk, for example: the environment is there all the same
		b.cfg.Log("requirements are resolved again when they are asked for next: " + err.Error())
	}
	return env, nil
}

// installOnce returns the environment of a lock; of all processes that want it, one builds it.
func (b *Builder) installOnce(ctx context.Context, s scratch, interp Interpreter, l lock, say func(string)) (Environment, error) {
	key := keyOf(interp, l.text)
	lockFile := b.path(locksDir, key)
	unlock, err := lockExclusive(ctx, lockFile)
	if err != nil {
		return Environment{}, err
	}
	defer unlock()
	if env, ok := b.Lookup(key); ok {
		b.touch(key)
		env.Reused = true
		return env, nil
	}
	if err := b.install(ctx, s, interp, l, say); err != nil {
		return Environment{}, err
	}
	m := manifest{Layout: layout, Key: key, Boot: bootID(), Created: time.Now().UTC(), Interpreter: interp, Lock: l.text}
	if err := b.publish(ctx, s, m, say); err != nil {
		return Environment{}, err
	}
	say(fmt.Sprintf("environment %.12s is ready", key))
	return readEnvironment(b.cfg.Dir, key)
}

// publish seals what was installed and moves it to its place.
func (b *Builder) publish(ctx context.Context, s scratch, m manifest, say func(string)) error {
	// From here on the build user cannot even enter: nothing can change what is checked.
	if err := os.Chmod(s.top, 0o700); err != nil {
		return fmt.Errorf("close the scratch directory: %w", err)
	}
	if err := checkVenv(s.env, m.Interpreter); err != nil {
		return err
	}
	for _, name := range []string{manifestName, contentsName} {
		if _, err := os.Lstat(filepath.Join(s.env, name)); err == nil {
			return unwelcome("it replaces %s", name)
		}
	}
	entries, size, err := seal(s.env, m.Interpreter.Path, b.cfg.MaxBytes)
	if err != nil {
		return err
	}
	for _, name := range startupCode(entries) {
		say("a package installs code that runs at every start of the program: " + quoted(name))
	}
	if err := hashAll(s.env, entries); err != nil {
		return err
	}
	if err := b.dedupe(ctx, s, entries); err != nil {
		return err
	}
	if m.Contents, err = writeContents(s.env, entries); err != nil {
		return err
	}
	m.Files, m.Bytes = size.files, size.bytes
	if err := writeManifest(s.env, m); err != nil {
		return err
	}
	if m.Boot == "" {
		if err := withDir(s.env, unix.Syncfs); err != nil {
			return fmt.Errorf("write the environment to disk: %w", err)
		}
	}
	final := b.path(m.Key)
	if err := os.Remove(b.path(durableDir, m.Key)); err != nil && !errors.Is(err, os.ErrNotExist) { // an earlier one's
		return fmt.Errorf("prepare the environment's place: %w", err)
	}
	// What is there has no valid manifest, or it would have been used.
	if err := removeTree(final); err != nil {
		return fmt.Errorf("remove a damaged environment: %w", err)
	}
	if err := os.Rename(s.env, final); err != nil {
		return fmt.Errorf("move the environment to its place: %w", err)
	}
	b.flights.running.Go(func() { _ = b.makeDurable(m.Key) })
	return nil
}

func withDir(dir string, do func(fd int) error) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return do(fd)
}

func (b *Builder) makeScratch(from sources) (scratch, error) {
	top, err := os.MkdirTemp(b.path(scratchDir), "build-")
	if err != nil {
		return scratch{}, fmt.Errorf("make a scratch directory: %w", err)
	}
	s := scratch{top: top, work: filepath.Join(top, "work"), home: filepath.Join(top, "home"), tmp: filepath.Join(top, "tmp")}
	s.env, s.cache, s.cacheMount, s.sources = filepath.Join(top, "env"), b.path(cacheDir, "uv"), b.path(cacheDir), from
	dirs := []string{s.work, s.home, s.tmp}
	if from.any() {
		// What the code of a package may have written there is used by no other build.
		s.cache = filepath.Join(top, "cache")
		s.cacheMount = s.cache
		dirs = append(dirs, s.cache)
	}
	for _, dir := range dirs {
		if err = errors.Join(err, os.Mkdir(dir, 0o700), os.Lchown(dir, int(b.cfg.BuildUID), int(b.cfg.BuildGID))); err != nil {
			break
		}
	}
	if err = errors.Join(err, os.Chmod(top, 0o711)); err != nil {
		_ = os.RemoveAll(top)
		return scratch{}, fmt.Errorf("make a scratch directory: %w", err)
	}
	return s, nil
}

// keyOf names an environment: equal keys mean equal interpreters and equal files.
func keyOf(i Interpreter, lock string) string {
	return hashOf(layout, i.Version, i.Implementation, i.Platform, i.Path, lock)
}

// inputOf hashes what decides the result of a resolution, except time and the index's content.
func (b *Builder) inputOf(p plan) string {
	parts := []string{layout, fmt.Sprint(b.cfg.AllowSdist), p.interp.Version, p.interp.Implementation, p.interp.Platform, p.interp.Path}
	for _, address := range append(b.cfg.indexes(), b.cfg.FindLinks...) {
		if u, err := url.Parse(address); err == nil {
			u.User = nil // another password is not another index
			address = u.String()
		}
		parts = append(parts, address)
	}
	return hashOf(append(append(parts, p.sources.named...), inputLines(p.reqs)...)...)
}

// hashOf hashes a list of texts so that no two lists have the same one.
func hashOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// at is where a program of this build runs; online says whether it sees the package index and uv's cache.
func (b *Builder) at(s scratch, interp Interpreter, online bool) *place {
	p := &place{scratch: s, readOnly: append(slices.Clone(interp.Mounts), interp.Path), writable: []string{s.work, s.home, s.tmp}}
	if _, err := os.Lstat(s.env); err == nil {
		p.writable = append(p.writable, s.env)
	}
	if _, err := os.Lstat(s.requirements()); err == nil {
		p.readOnly = append(p.readOnly, s.requirements())
	}
	if online {
		p.mirror = s.mirror
		p.readOnly = append(append(p.readOnly, b.cfg.UV), b.linkDirs()...)
		p.writable = append(p.writable, s.cacheMount)
		p.readOnly = append(p.readOnly, s.wheels...)
		if len(s.sources.git) > 0 {
			p.readOnly = append(gitPaths(), p.readOnly...) // directories before what lies in them
		}
	}
	return p
}

// sourcesOf are those of a plan, and what the operator has built from source for everybody.
func (b *Builder) sourcesOf(p plan) sources {
	s := p.sources
	if b.cfg.AllowSdist {
		s.named = []string{AllSources}
	}
	return s
}

// uvArgs say where uv takes packages from.
func (b *Builder) uvArgs(s scratch) []string {
	args := s.sources.args()
	if len(b.up.indexes) == 0 {
		args = append(args, "--no-index")
	}
	return args
}

// uvEnviron is the whole environment that uv gets. There is no secret in it.
func (b *Builder) uvEnviron(s scratch) []string {
	env := []string{
		"PATH=/usr/bin:/bin", "HOME=" + s.home, "TMPDIR=" + s.tmp, "LANG=C.UTF-8",
		"UV_CACHE_DIR=" + s.cache, "UV_LINK_MODE=copy", "UV_NO_CONFIG=1", "UV_PYTHON_DOWNLOADS=never",
		"UV_KEYRING_PROVIDER=disabled", "UV_NO_PROGRESS=1", "UV_NO_ENV_FILE=1", "NO_COLOR=1", "UV_HTTP_TIMEOUT=60",
		"UV_HTTP_RETRIES=3", "UV_INDEX_STRATEGY=first-index",
	}
	indexes := b.up.indexes
	if n := len(indexes); n > 0 {
		env = append(env, "UV_DEFAULT_INDEX="+mirrorURL+"/i/"+idOf(indexes[n-1]))
		var others []string
		for _, index := range indexes[:n-1] {
			others = append(others, mirrorURL+"/i/"+idOf(index))
		}
		env = append(env, "UV_INDEX="+strings.Join(others, " "))
	}
	links := b.linkDirs()
	for _, page := range b.up.links {
		links = append(links, mirrorURL+"/i/"+idOf(page)+"/")
	}
	if len(links) > 0 {
		env = append(env, "UV_FIND_LINKS="+strings.Join(links, ","))
	}
	if b.cfg.Offline {
		env = append(env, "UV_OFFLINE=1")
	}
	return env
}

// linkDirs are the configured folders of wheels. Those that do not exist are left out: pip overlooks them and uv does not.
func (b *Builder) linkDirs() []string {
	var dirs []string
	for _, link := range b.cfg.FindLinks {
		link = strings.TrimPrefix(link, "file://")
		if info, err := os.Stat(link); !strings.Contains(link, "://") && err == nil && info.IsDir() {
			dirs = append(dirs, link)
		}
	}
	return dirs
}
