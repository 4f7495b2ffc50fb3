package pythonenv

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// resolve locks a plan's requirements. What was only added to be faster is given up where it has no wheel.
func (b *Builder) resolve(ctx context.Context, s scratch, p plan, say func(string)) (lock, error) {
	l, err := b.compile(ctx, s, p.interp, p.reqs, say)
	if err == nil {
		return l, nil
	}
	var e *BuildError
	if !errors.As(err, &e) || e.Reason != ReasonNoWheel || !slices.ContainsFunc(p.reqs, func(r requirement) bool {
		return r.line == 0 && isOptional(r.name) && strings.Contains(e.Message, r.name)
	}) {
		return l, b.advise(ctx, s, p, err, say)
	}
	say("uvloop and httptools have no wheels for this Python: going on without them")
	if l, err = b.compile(ctx, s, p.interp, withoutOptional(p.reqs), say); err != nil {
		err = b.advise(ctx, s, p, err, say)
	}
	return l, err
}

// compile has uv resolve requirements, with further options.
func (b *Builder) compile(
	ctx context.Context, s scratch, interp Interpreter, reqs []requirement, say func(string), more ...string,
) (lock, error) {
	var text strings.Builder
	for _, r := range reqs {
		text.WriteString(b.forUV(r) + "\n")
	}
	out, err := b.run(ctx, command{
		argv: append([]string{
			b.cfg.UV, "pip", "compile", "--generate-hashes", "--no-header", "--no-annotate",
			"--no-python-downloads", "--python", interp.Path, "-",
		}, append(b.uvArgs(s), more...)...),
		dir: s.work, env: b.uvEnviron(s), stdin: text.String(), onLine: say, at: b.at(s, interp, true),
	})
	if err != nil {
		return lock{}, uvError("resolve", err, out.stderr, reqs)
	}
	lines, err := parseLock(b.up.original(string(out.stdout)), reqs)
	if err != nil {
		return lock{}, fmt.Errorf("read what uv locked: %w", err)
	}
	return newLock(interp, s.chosen, lines), nil
}

var (
	lockedLine = regexp.MustCompile(`^([a-z0-9][a-z0-9-]*)==([A-Za-z0-9.+!_-]+)$`)
	lockedName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
	lockedHash = regexp.MustCompile(`^--hash=(sha256:[0-9a-f]{64})$`)
)

// lockLines are the lines of packages of a lock.
type lockLines struct {
	text string
	refs []reference // direct ones among them
	git  []string    // packages that lie in repositories
}

// parseLock reads locked lines, holds them to the author's own hashes, and writes them anew in one form.
func parseLock(text string, reqs []requirement) (lines lockLines, err error) {
	allowed := map[string][]string{}
	for _, r := range reqs {
		allowed[r.name] = append(allowed[r.name], r.hashes...)
	}
	var entries []string
	for entry := range strings.SplitSeq(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		words := strings.Fields(entry)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		name, pin, rest, err := lines.pinned(entry, words)
		if err != nil {
			return lines, err
		}
		if rest == nil { // a commit says all
			entries = append(entries, pin+"\n")
			continue
		}
		hashes, err := lockedHashes(rest)
		if err != nil {
			return lines, err
		}
		if own := allowed[name]; len(own) > 0 {
			hashes = slices.DeleteFunc(hashes, func(h string) bool { return !slices.Contains(own, h) })
			if len(hashes) == 0 {
				return lines, mismatch(name, pin, reqs)
			}
		}
		entries = append(entries, pin+" --hash="+strings.Join(hashes, " --hash=")+"\n")
	}
	slices.Sort(entries)
	slices.Sort(lines.git)
	lines.text = strings.Join(entries, "")
	return lines, nil
}

// pinned reads what stands before the hashes of a line: a package at a version, a wheel at its place, or a package in a
// repository at a commit, which has no hashes: rest is nil then.
func (l *lockLines) pinned(entry string, words []string) (name, pin string, rest []string, err error) {
	if m := lockedLine.FindStringSubmatch(words[0]); m != nil {
		return m[1], words[0], words[1:], nil
	}
	none := fmt.Errorf("%s is not a package at a version", quoted(entry))
	if len(words) < 3 || words[1] != "@" || !lockedName.MatchString(words[0]) {
		return "", "", nil, none
	}
	ref, err := parseReference(words[2])
	if err != nil {
		return "", "", nil, none
	}
	l.refs = append(l.refs, ref)
	name, pin = words[0], words[0]+" @ "+ref.at
	switch {
	case ref.kind != directGit && ref.wheel() == name && ref.hash == "":
		return name, pin, words[3:], nil
	case ref.kind == directGit && commitID.MatchString(ref.rev) && len(words) == 3:
		l.git = append(l.git, name)
		return name, pin, nil, nil
	}
	return "", "", nil, none
}

func lockedHashes(words []string) ([]string, error) {
	var hashes []string
	for _, w := range words {
		m := lockedHash.FindStringSubmatch(w)
		if m == nil {
			return nil, fmt.Errorf("%s is not a hash", quoted(w))
		}
		hashes = append(hashes, m[1])
	}
	if len(hashes) == 0 {
		return nil, errors.New("a package has no hash")
	}
	slices.Sort(hashes)
	return hashes, nil
}

func mismatch(name, pin string, reqs []requirement) error {
	return &BuildError{
		Reason:  ReasonHashMismatch,
		Message: fmt.Sprintf("no file of %s has the hash that the requirements demand", strings.Replace(pin, "==", " ", 1)),
		Remedy:  "pin the version that the hash belongs to, or correct the hash",
		Line:    lineOf(reqs, name),
	}
}

// lineOf returns the line that names a package, 0 when none does.
func lineOf(reqs []requirement, name string) int {
	for _, r := range reqs {
		if r.name == normalise(name) {
			return r.line
		}
	}
	return 0
}
