package pythonenv

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Interpreter is a Python of this machine.
type Interpreter struct {
	Version        string   `json:"version"` // "3.11.2"
	Minor          string   `json:"minor"`   // "3.11"
	Path           string   `json:"path"`    // of the binary itself, not of a link to it
	Prefix         string   `json:"prefix"`
	Stdlib         string   `json:"stdlib"`
	Library        string   `json:"library,omitempty"` // libpython, when the binary needs it
	Mounts         []string `json:"mounts"`            // what a sandbox must see read-only, besides the system's libraries
	Implementation string   `json:"implementation"`    // "cpython"
	Platform       string   `json:"platform"`          // system, architecture and ABI
	Unusable       string   `json:"unusable,omitempty"`
}

// lowestMinor is the oldest Python 3 that is offered: the oldest that FastAPI's supported releases ran on.
const lowestMinor = 9

//go:embed interpreter.py
var describeScript string

// Interpreters lists the Pythons of /usr/bin, /usr/local/bin and the configuration, and those that were added, the default
// first. One that cannot
// be used is listed with the reason in Unusable and, if it could not be asked, without a version. Each is asked once and
// again only when its file changed.
func (b *Builder) Interpreters(ctx context.Context) []Interpreter {
	var all []Interpreter
	seen := map[string]bool{}
	for _, path := range b.candidates() {
		real, err := filepath.EvalSymlinks(path)
		if err != nil || seen[real] {
			continue
		}
		seen[real] = true
		if interp := b.describe(ctx, real); interp.Path != "" {
			all = append(all, interp)
		}
	}
	return all
}

// candidates are paths where a Python may be, by preference: the system's default, the others newest first, the
// operator's own, those that were added.
func (b *Builder) candidates() []string {
	var paths []string
	for _, dir := range []string{"/usr/bin", "/usr/local/bin"} {
		paths = append(paths, filepath.Join(dir, "python3"))
		for minor := 40; minor >= lowestMinor; minor-- {
			paths = append(paths, filepath.Join(dir, "python3."+strconv.Itoa(minor)))
		}
	}
	paths = append(paths, b.cfg.Interpreters...)
	added, err := b.addedPythons()
	if err != nil {
		return paths // whoever lists or changes them is told
	}
	for _, p := range added {
		paths = append(paths, p.Path)
	}
	return paths
}

// choose returns the usable interpreter that a request asks for: of those that will do, the first in the order of
// Interpreters.
func (b *Builder) choose(ctx context.Context, want string) (Interpreter, error) {
	asked, err := parsePython(want)
	if err != nil {
		return Interpreter{}, refused(0, err.Error(), `give one like "3.11", or a specifier like ">=3.10,<3.13"`)
	}
	var offered, reasons []string
	for _, interp := range b.Interpreters(ctx) {
		matches := asked.admits(interp.Version)
		switch {
		case interp.Unusable == "" && matches:
			return interp, nil
		case interp.Unusable == "":
			offered = append(offered, interp.Version)
		case matches || interp.Version == "":
			reasons = append(reasons, interp.Unusable)
		}
	}
	if err := context.Cause(ctx); err != nil {
		return Interpreter{}, fmt.Errorf("find an interpreter: %w", err)
	}
	e := &BuildError{
		Reason: ReasonNoInterpreter, Message: "there is no usable Python on this machine",
		Remedy: "install python3 (3.9 or later) on the server", Output: strings.Join(reasons, "\n"),
	}
	if want != "" {
		e.Message = fmt.Sprintf("there is no Python %s on this machine", quoted(want))
	}
	if len(offered) > 0 {
		e.Remedy = "ask for one of these: " + strings.Join(slices.Compact(offered), ", ") +
			"; the operator can add others with `apibuilder python add`"
	}
	return Interpreter{}, e
}

// interpreterCache keeps what interpreters said, by the identity of their files.
type interpreterCache struct {
	mu    sync.Mutex
	known map[string]Interpreter
}

// describe returns the zero Interpreter for what is too old or no Python at all.
func (b *Builder) describe(ctx context.Context, path string) Interpreter {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return Interpreter{}
	}
	at, err := firstClosed(path)
	if err != nil {
		return Interpreter{Path: path, Unusable: fmt.Sprintf(
			"%s: %v: install a Python of the system, or run chmod o+x %s", path, err, at)}
	}
	id := fmt.Sprint(path, info.ModTime().UnixNano(), info.Size(), info.Sys().(*syscall.Stat_t).Ino)
	c := &b.interpreters
	c.mu.Lock()
	defer c.mu.Unlock()
	if interp, ok := c.known[id]; ok {
		return interp
	}
	interp, err := b.ask(ctx, path)
	if ctx.Err() != nil {
		return Interpreter{}
	}
	if err != nil {
		interp = Interpreter{Path: path, Unusable: fmt.Sprintf("%s: %v", path, err)}
	}
	if !saidItself(err) {
		return interp // a busy machine, or one without memory: ask again next time
	}
	if c.known == nil {
		c.known = map[string]Interpreter{}
	}
	c.known[id] = interp
	return interp
}

var errNonsense = errors.New("understand what it says it is")

// saidItself reports whether what came of asking an interpreter is its own doing, and so would come of it again.
func saidItself(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	return err == nil || errors.Is(err, errNonsense) || ok && exit.Exited()
}

// ask runs an interpreter, as the build user and without any site packages, to have it describe itself.
func (b *Builder) ask(ctx context.Context, path string) (Interpreter, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := b.run(ctx, command{
		argv: []string{path, "-I", "-S", "-c", describeScript}, dir: "/", env: []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}, reads: true,
	})
	if err != nil {
		return Interpreter{}, fmt.Errorf("ask it what it is: %w: %s", err, firstLine(out.stderr))
	}
	said := struct {
		Interpreter
		ExecPrefix string   `json:"exec_prefix"`
		PlatStdlib string   `json:"platstdlib"`
		Lacks      []string `json:"lacks"`
	}{}
	if err := json.Unmarshal(out.stdout, &said); err != nil {
		return Interpreter{}, fmt.Errorf("%w: %w", errNonsense, err)
	}
	interp := said.Interpreter
	if minor, _ := strconv.Atoi(strings.TrimPrefix(interp.Minor, "3.")); minor < lowestMinor {
		return Interpreter{}, nil
	}
	interp.Path = path
	interp.Mounts = mounts(interp, said.ExecPrefix, said.PlatStdlib)
	if len(said.Lacks) > 0 {
		interp.Unusable = fmt.Sprintf("%s: its standard library lacks %s: install the full package, for example python3",
			path, strings.Join(said.Lacks, ", "))
	}
	return interp, nil
}

// mounts lists what the interpreter consists of: its whole prefix when that is its own, else single paths.
func mounts(i Interpreter, execPrefix, platStdlib string) []string {
	paths := []string{i.Path, i.Prefix, execPrefix}
	if i.Prefix == "/usr" || i.Prefix == "/usr/local" || i.Prefix == "/" {
		paths = []string{i.Path, i.Stdlib, platStdlib}
		if !strings.HasPrefix(i.Library, "/usr/lib") && !strings.HasPrefix(i.Library, "/lib") {
			paths = append(paths, i.Library)
		}
	}
	var kept []string
	for _, p := range paths {
		inside := slices.ContainsFunc(paths, func(q string) bool { return q != "" && strings.HasPrefix(p, q+"/") })
		if p != "" && !inside && !slices.Contains(kept, p) {
			kept = append(kept, p)
		}
	}
	return kept
}
