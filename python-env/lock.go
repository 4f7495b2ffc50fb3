package pythonenv

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// lock is a resolution: every package at one version with the SHA-256 sums of the files that may be installed, and the
// Python that it was made for.
type lock struct {
	text     string // a first line that names the Python, one that names what is built from source, then a line for each package
	version  string // "3.11.2"
	platform string // see Interpreter
	sources  sources
	refs     []reference // direct ones among the lines
}

// Package is one line of a lock.
type Package struct {
	Name    string // normalised, see PEP 503
	Version string // of a direct reference its address, with the commit where that is a repository
}

var lockHeader = regexp.MustCompile(`^# python (3\.[0-9]{1,3}\.[0-9A-Za-z.+-]{1,40}) ([A-Za-z0-9_.-]{1,120})$`)

// newLock puts the Python before the lines. A lock holds for one minor version on one platform, because markers were
// evaluated; which patch release it was matters to a few markers only.
func newLock(i Interpreter, s sources, lines lockLines) lock {
	header := fmt.Sprintf("# python %s %s\n", i.Version, i.Platform) + s.header()
	s.git = lines.git
	return lock{text: header + lines.text, version: i.Version, platform: i.Platform, sources: s, refs: lines.refs}
}

// readHeader reads the Python that a lock is for.
func readHeader(text string) (lock, error) {
	header, _, _ := strings.Cut(text, "\n")
	m := lockHeader.FindStringSubmatch(header)
	if m == nil {
		return lock{}, errors.New("read the lock: it does not begin with the Python that it is for")
	}
	return lock{text: header + "\n", version: m[1], platform: m[2]}, nil
}

// readLock reads a lock that was stored. Nothing but packages at versions with their hashes gets through.
func readLock(text string) (lock, error) {
	l, err := readHeader(text)
	if err != nil {
		return lock{}, err
	}
	_, lines, _ := strings.Cut(text, "\n")
	s, lines, err := cutSources(lines)
	if err != nil {
		return lock{}, err
	}
	entries, err := parseLock(lines, nil)
	if err != nil {
		return lock{}, fmt.Errorf("read the lock: %w", err)
	}
	l.text += s.header() + entries.text
	l.sources, l.refs = s, entries.refs
	l.sources.git = entries.git
	return l, nil
}

// LockedPackages lists what a lock installs, by name, and the Python that it is for. A text that is no lock has none.
func LockedPackages(text string) (python string, packages []Package) {
	if m := lockHeader.FindStringSubmatch(firstLine(text)); m != nil {
		python = m[1]
	}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if m := lockedLine.FindStringSubmatch(words[0]); m != nil {
			packages = append(packages, Package{Name: m[1], Version: m[2]})
		} else if len(words) > 2 && words[1] == "@" && lockedName.MatchString(words[0]) {
			packages = append(packages, Package{Name: words[0], Version: words[2]})
		}
	}
	slices.SortFunc(packages, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	return python, packages
}

// SameRequirements reports whether two requirements texts ask for the same, whatever their comments, order and spaces.
// A text that is refused is the same as itself alone.
func SameRequirements(a, b string) bool {
	if a == b {
		return true
	}
	first, err := anywhere.parse(a)
	second, err2 := anywhere.parse(b)
	if err != nil || err2 != nil {
		return false
	}
	return slices.Equal(inputLines(withRuntime(first)), inputLines(withRuntime(second)))
}

// inputLines say what requirements come to, for comparison.
func inputLines(reqs []requirement) []string {
	var lines []string
	for _, r := range reqs {
		// What the author names may not be given up, see withoutOptional, so it is another input than what was added.
		lines = append(lines, r.text, strings.Join(r.hashes, " "), fmt.Sprint(r.line == 0))
	}
	return lines
}

// chooseLocked returns an interpreter that a lock holds for: of the same release if there is one, else of the same minor
// version.
func (b *Builder) chooseLocked(ctx context.Context, l lock) (Interpreter, error) {
	var found Interpreter
	minor := minorOf(l.version)
	for _, i := range b.Interpreters(ctx) {
		if i.Unusable != "" || i.Minor != minor || i.Platform != l.platform {
			continue
		}
		if i.Version == l.version {
			return i, nil
		}
		if found.Path == "" {
			found = i
		}
	}
	if err := context.Cause(ctx); err != nil {
		return Interpreter{}, fmt.Errorf("find an interpreter: %w", err)
	}
	if found.Path == "" {
		return found, &BuildError{
			Reason:  ReasonNoInterpreter,
			Message: fmt.Sprintf("the packages are locked for Python %s (%s), which this machine does not have", minor, l.platform),
			Remedy:  "the operator can add it with `apibuilder python add`; or deploy again with --upgrade",
		}
	}
	return found, nil
}

// minorOf cuts "3.11.2" to "3.11".
func minorOf(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// lockOf is the plan's own lock, else what its requirements resolve to.
func (b *Builder) lockOf(ctx context.Context, s scratch, p plan, say func(string)) (lock, error) {
	if p.lock.text != "" {
		return p.lock, nil
	}
	say("resolving with Python " + p.interp.Version)
	return b.resolve(ctx, s, p, say)
}

// Lock resolves a request's requirements anew and builds nothing. Its errors are those of Ensure.
func (b *Builder) Lock(ctx context.Context, req Request) (string, error) {
	plan, err := b.planOf(ctx, req)
	if err != nil {
		return "", err
	}
	plan.lockOnly = true
	env, err := b.flights.do(ctx, "lock "+plan.input, req.Progress, func(ctx context.Context, say func(string)) (Environment, error) {
		return b.build(ctx, plan, say)
	})
	return env.Lock, err
}

// planOf reads a request.
func (b *Builder) planOf(ctx context.Context, req Request) (plan, error) {
	reqs, err := b.cfg.Allow.parse(req.Requirements)
	if err != nil {
		return plan{}, err
	}
	interp, err := b.choose(ctx, req.Python)
	if err != nil {
		return plan{}, err
	}
	p := plan{interp: interp, reqs: withRuntime(reqs)}
	if p.sources, err = newSources(req.Sdists); err != nil {
		return plan{}, err
	}
	if err := b.allowSources(p.sources); err != nil {
		return plan{}, err
	}
	for _, r := range reqs {
		if r.ref != nil && r.ref.kind == directGit {
			p.sources.git = append(p.sources.git, r.name)
		}
	}
	p.input = b.inputOf(p)
	return p, nil
}

// allows refuses a lock of a time when the operator allowed more.
func (b *Builder) allows(l lock) error {
	for _, ref := range l.refs {
		if err := b.cfg.Allow.check(ref); err != nil {
			return refused(0, "the packages are locked to "+ref.at+": "+err.Error(), directRemedy)
		}
	}
	return b.allowSources(l.sources)
}

// allowSources refuses to build from source what the operator does not let authors choose.
func (b *Builder) allowSources(s sources) error {
	if len(s.named) == 0 || b.cfg.AllowSdist || b.cfg.Allow.Sdists {
		return nil
	}
	return refused(0, "packages are not built from source here", "ask for versions that have wheels; the operator of this server can allow more")
}

// ensureLocked installs a lock as it is.
func (b *Builder) ensureLocked(ctx context.Context, req Request) (Environment, error) {
	header, err := readHeader(req.Lock)
	if err != nil {
		return Environment{}, err
	}
	interp, err := b.chooseLocked(ctx, header)
	if err != nil {
		return Environment{}, err
	}
	// A text that an environment is named after was read when that was built.
	if env, ok := b.use(ctx, keyOf(interp, req.Lock)); ok {
		env.Reused = true
		return env, nil
	}
	l, err := readLock(req.Lock)
	if err != nil {
		return Environment{}, err
	}
	if err := b.allows(l); err != nil {
		return Environment{}, err
	}
	key := keyOf(interp, l.text)
	p := plan{interp: interp, lock: l, sources: l.sources, input: hashOf("lock", key)}
	return b.flights.do(ctx, p.input, req.Progress, func(ctx context.Context, say func(string)) (Environment, error) {
		return b.build(ctx, p, say)
	})
}
