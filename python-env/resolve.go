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
		text.WriteString(r.text + "\n")
	}
	out, err := b.run(ctx, command{
		argv: append([]string{
			b.cfg.UV, "pip", "compile", "--generate-hashes", "--no-header", "--no-annotate",
			"--no-python-downloads", "--python", interp.Path, "-",
		}, append(b.wheelsOnly(), more...)...),
		dir: s.work, env: b.uvEnviron(s), stdin: text.String(), onLine: say, at: b.at(s, interp, true),
	})
	if err != nil {
		return lock{}, uvError("resolve", err, out.stderr, reqs)
	}
	lines, err := parseLock(string(out.stdout), reqs)
	if err != nil {
		return lock{}, fmt.Errorf("read what uv locked: %w", err)
	}
	return newLock(interp, lines), nil
}

var (
	lockedLine = regexp.MustCompile(`^([a-z0-9][a-z0-9-]*)==([A-Za-z0-9.+!_-]+)$`)
	lockedHash = regexp.MustCompile(`^--hash=(sha256:[0-9a-f]{64})$`)
)

// parseLock reads locked lines, holds them to the author's own hashes, and writes them anew in one form.
func parseLock(text string, reqs []requirement) (string, error) {
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
		m := lockedLine.FindStringSubmatch(words[0])
		if m == nil {
			return "", fmt.Errorf("%s is not a package at a version", quoted(entry))
		}
		hashes, err := lockedHashes(words[1:])
		if err != nil {
			return "", err
		}
		if own := allowed[m[1]]; len(own) > 0 {
			hashes = slices.DeleteFunc(hashes, func(h string) bool { return !slices.Contains(own, h) })
			if len(hashes) == 0 {
				return "", mismatch(m[1], m[2], reqs)
			}
		}
		entries = append(entries, words[0]+" --hash="+strings.Join(hashes, " --hash=")+"\n")
	}
	slices.Sort(entries)
	return strings.Join(entries, ""), nil
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

func mismatch(name, version string, reqs []requirement) error {
	return &BuildError{
		Reason:  ReasonHashMismatch,
		Message: fmt.Sprintf("no file of %s %s in the index has the hash that the requirements demand", name, version),
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
