package pythonenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Python is an interpreter that is offered, and how it came here.
type Python struct {
	Interpreter
	Added  time.Time // zero: found on the system or configured
	Origin string    // path that it was added by
	Copied bool      // it is a copy of ours, because sandboxes cannot read the original
}

// addedPython is what the list of added interpreters holds of one.
type addedPython struct {
	Path   string    `json:"path"` // of the binary that is run
	Origin string    `json:"origin"`
	Copied bool      `json:"copied"`
	Added  time.Time `json:"added"`
}

const pythonsList = "added.json"

// pythonsDir holds the list of added interpreters and the copies. Sandboxes see the copies at their own paths.
func (b *Builder) pythonsDir(parts ...string) string {
	dir := b.cfg.Pythons
	if dir == "" {
		dir = filepath.Join(filepath.Dir(b.cfg.Dir), "pythons")
	}
	return filepath.Join(append([]string{dir}, parts...)...)
}

// addedPythons reads the list. A list that cannot be read is none: what it named is no longer offered, and whoever changes
// it is told.
func (b *Builder) addedPythons() ([]addedPython, error) {
	text, err := os.ReadFile(b.pythonsDir(pythonsList))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var all []addedPython
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of added interpreters: %w", err)
	}
	return all, nil
}

func (b *Builder) writeAddedPythons(all []addedPython) error {
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("write the list of added interpreters: %w", err)
	}
	aside := b.pythonsDir(".list")
	err = writeSynced(aside, append(text, '\n'))
	if err == nil {
		err = os.Rename(aside, b.pythonsDir(pythonsList))
	}
	if err == nil {
		err = withDir(b.pythonsDir(), unix.Fsync)
	}
	if err != nil {
		return fmt.Errorf("write the list of added interpreters: %w", err)
	}
	return nil
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Pythons lists what Interpreters does, with how each came here.
func (b *Builder) Pythons(ctx context.Context) ([]Python, error) {
	added, err := b.addedPythons()
	if err != nil {
		return nil, err
	}
	var all []Python
	for _, i := range b.Interpreters(ctx) {
		p := Python{Interpreter: i}
		for _, a := range added {
			if a.Path == i.Path {
				p.Added, p.Origin, p.Copied = a.Added, a.Origin, a.Copied
			}
		}
		all = append(all, p)
	}
	return all, context.Cause(ctx)
}

// AddPython offers the interpreter at an absolute path from now on, also after a restart. The path must be root's all the
// way. One that sandboxes cannot read is copied. Its error is a *BuildError that says what to do when the interpreter will
// not do.
func (b *Builder) AddPython(ctx context.Context, path string) (Python, error) {
	unlock, err := b.lockPythons(ctx)
	if err != nil {
		return Python{}, err
	}
	defer unlock()
	real, err := findBinary(path)
	if err != nil {
		return Python{}, err
	}
	if err := checkRoots(real); err != nil {
		return Python{}, err
	}
	info, err := os.Stat(real)
	if err != nil {
		return Python{}, fmt.Errorf("look at %s: %w", real, err)
	}
	if _, err := firstClosed(real); err != nil || info.Mode().Perm()&0o005 != 0o005 {
		return b.copyPython(ctx, real, path)
	}
	return b.keepPython(ctx, addedPython{Path: real, Origin: path})
}

// keepPython puts an interpreter that works on the list.
func (b *Builder) keepPython(ctx context.Context, p addedPython) (Python, error) {
	for _, known := range b.Interpreters(ctx) {
		if known.Path == p.Path {
			return Python{}, pythonRefused(fmt.Sprintf("Python %s at %s is offered already", known.Version, p.Path), "see `apibuilder python list`")
		}
	}
	interp := b.describe(ctx, p.Path)
	switch {
	case ctx.Err() != nil:
		return Python{}, fmt.Errorf("add an interpreter: %w", context.Cause(ctx))
	case interp.Path == "":
		return Python{}, pythonRefused(fmt.Sprintf("%s is older than Python 3.%d", p.Origin, lowestMinor), "add a newer one")
	case interp.Unusable != "":
		return Python{}, pythonRefused(interp.Unusable, "mend it, or add another one")
	case p.Copied && !strings.HasPrefix(p.Path, interp.Prefix+"/"):
		return Python{}, pythonRefused(fmt.Sprintf("the copy of %s still uses %s", p.Origin, interp.Prefix), "install one that can be moved, as uv makes them")
	case interp.Implementation != "cpython":
		return Python{}, pythonRefused(fmt.Sprintf("%s is %s", p.Origin, interp.Implementation), "add a CPython")
	}
	for _, path := range []string{interp.Stdlib, interp.Library} {
		if path == "" {
			continue
		}
		if err := checkRoots(path); err != nil {
			return Python{}, err
		}
	}
	all, err := b.addedPythons()
	if err != nil {
		return Python{}, err
	}
	if p.Copied { // it must be there whole whenever it is on the list
		if err := b.flush(b.pythonsDir()); err != nil {
			return Python{}, fmt.Errorf("write the interpreter to disk: %w", err)
		}
	}
	p.Added = time.Now().UTC().Truncate(time.Second)
	all = append(slices.DeleteFunc(all, func(other addedPython) bool { return other.Path == p.Path }), p)
	if err := b.writeAddedPythons(all); err != nil {
		return Python{}, err
	}
	return Python{Interpreter: interp, Added: p.Added, Origin: p.Origin, Copied: p.Copied}, nil
}

// FindPython returns the interpreter that was added with this version, path or origin.
func (b *Builder) FindPython(ctx context.Context, which string) (Python, error) {
	all, err := b.Pythons(ctx)
	if err != nil {
		return Python{}, err
	}
	var found []Python
	for _, p := range all {
		if !p.Added.IsZero() && slices.Contains([]string{p.Version, p.Minor, p.Path, p.Origin}, which) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Python{}, pythonRefused(fmt.Sprintf("no Python %s was added", quoted(which)), "see `apibuilder python list`; those of the system stay")
	}
	return Python{}, pythonRefused(fmt.Sprintf("there are %d added Pythons %s", len(found), quoted(which)), "name its path")
}

// RemovePython takes one that FindPython found off the list, and removes it when it is a copy. The caller makes sure that
// nothing runs with it.
func (b *Builder) RemovePython(ctx context.Context, p Python) error {
	unlock, err := b.lockPythons(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	all, err := b.addedPythons()
	if err != nil {
		return err
	}
	if err := b.writeAddedPythons(slices.DeleteFunc(all, func(a addedPython) bool { return a.Path == p.Path })); err != nil {
		return err
	}
	rel, err := filepath.Rel(b.pythonsDir(), p.Path)
	if !p.Copied || err != nil || !filepath.IsLocal(rel) {
		return nil
	}
	top, _, _ := strings.Cut(rel, string(filepath.Separator))
	if err := os.RemoveAll(b.pythonsDir(top)); err != nil {
		return fmt.Errorf("remove the copy of an interpreter: %w", err)
	}
	return nil
}

var installable = regexp.MustCompile(`^3\.[0-9]{1,2}(\.[0-9]{1,2})?$`)

// InstallPython has uv fetch an interpreter ("3.10" or "3.10.13") and keeps it as a copy. uv's downloads come from a host
// of its own, or from UV_PYTHON_INSTALL_MIRROR of this process; where that is out of reach, the error says so.
func (b *Builder) InstallPython(ctx context.Context, version string, progress func(string)) (Python, error) {
	if !installable.MatchString(version) {
		return Python{}, pythonRefused(fmt.Sprintf("%s is no version to install", quoted(version)), "give one like 3.10")
	}
	unlock, err := b.lockPythons(ctx)
	if err != nil {
		return Python{}, err
	}
	defer unlock()
	s, remove, err := b.openScratch(ctx, sources{})
	if err != nil {
		return Python{}, err
	}
	defer remove()
	ctx, cancel := context.WithTimeoutCause(ctx, b.cfg.Timeout, errTimedOut)
	defer cancel()
	binary, err := b.fetchPython(ctx, s, version, progress)
	if err != nil {
		return Python{}, b.explain(err)
	}
	return b.copyPython(ctx, binary, "uv "+version)
}

// fetchPython returns the path of the binary in the scratch directory.
func (b *Builder) fetchPython(ctx context.Context, s scratch, version string, progress func(string)) (string, error) {
	env := append(b.uvEnviron(s), "UV_PYTHON_DOWNLOADS=manual")
	for _, name := range proxyVariables {
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	if mirror := os.Getenv("UV_PYTHON_INSTALL_MIRROR"); mirror != "" {
		env = append(env, "UV_PYTHON_INSTALL_MIRROR="+mirror)
	}
	dir := filepath.Join(s.work, "python")
	out, err := b.run(ctx, command{
		argv: []string{b.cfg.UV, "python", "install", "--install-dir", dir, "--no-bin", "--compile-bytecode", version},
		dir:  s.work, env: env, onLine: progress,
	})
	if err != nil {
		return "", installError(version, err, out.stderr)
	}
	found, err := filepath.Glob(filepath.Join(dir, "cpython-3*", "bin", "python3"))
	if err != nil || len(found) == 0 {
		return "", errors.New("find the interpreter that uv installed: there is none")
	}
	real, err := filepath.EvalSymlinks(found[0])
	if err != nil {
		return "", fmt.Errorf("find the interpreter that uv installed: %w", err)
	}
	return real, nil
}

func installError(version string, err error, said string) error {
	err = uvError("install Python "+version, err, said, nil)
	e, ok := errors.AsType[*BuildError](err)
	if !ok {
		return err
	}
	switch {
	case e.Reason == ReasonUnreachable:
		e.Message = "the place that uv downloads Pythons from cannot be reached from this server"
		e.Remedy = "install Python " + version + " by other means and name it with `apibuilder python add PATH`, " +
			"or set UV_PYTHON_INSTALL_MIRROR for the server"
	case strings.Contains(said, "No download found") || strings.Contains(said, "not available"):
		e.Reason, e.Message, e.Remedy = ReasonNotFound, "uv knows no Python "+version+" for this machine", "ask for another version"
	}
	return e
}

// lockPythons lets one change the list at a time, in all processes.
func (b *Builder) lockPythons(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(b.pythonsDir(), 0o711); err != nil {
		return nil, fmt.Errorf("make the directory of interpreters: %w", err)
	}
	if err := os.Chmod(b.pythonsDir(), 0o711); err != nil {
		return nil, fmt.Errorf("make the directory of interpreters: %w", err)
	}
	return lockExclusive(ctx, b.pythonsDir(".lock"))
}

func pythonRefused(message, remedy string) error {
	return &BuildError{Reason: ReasonNoInterpreter, Message: message, Remedy: remedy}
}
