package pythonenv

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// These read uv's reasoning further than uvSentences does; a text that they do not match is explained less well, no more.
var (
	youRequire   = regexp.MustCompile(`you require (.+?)(?:, we can conclude| and because |\. |\.?$)`)
	dependsOn    = regexp.MustCompile(`([a-z0-9][a-z0-9-]*(?:[=<>!~]\S*)?) depends? on (?:one of: )?((?:[a-z0-9][a-z0-9-]*[=<>!~]\S* ?)+)`)
	needsPython  = regexp.MustCompile(`([a-z0-9][a-z0-9-]*)(?:==(\S+))? depends? on Python([=<>!~][^ ,]*(?:,[=<>!~][^ ,]*)*)`)
	neededBy     = `(?:versions of |because |and )([a-z0-9][a-z0-9-]*)(?:[=<>!~]\S*)? depends? on `
	platformsOf  = regexp.MustCompile("Wheels are available for `([^`]+)` \\([^)]*\\) on the following platforms?: ([^\n]+)")
	requiredName = regexp.MustCompile(`^([a-z0-9][a-z0-9-]*)(?:\[|[=<>!~]|$)`)
)

// refine adds to a failure what the requirements and our own tables tell about it.
func refine(e *BuildError, interp Interpreter, reqs []requirement) {
	said := unwrapLines(e.Output)
	switch e.Reason {
	case ReasonConflict:
		refineConflict(e, said, reqs)
	case ReasonNotFound:
		refineNotFound(e, said, reqs)
	case ReasonNoWheel:
		e.Message = strings.Replace(e.Message, "for this Python", "for Python "+interp.Minor, 1)
		if m := needsPython.FindStringSubmatch(said); m != nil && strings.Contains(said, "does not satisfy Python") {
			e.Message = fmt.Sprintf("%s needs Python %s, and this is %s", strings.TrimSpace(m[1]+" "+m[2]), m[3], interp.Version)
			e.Line = lineOf(reqs, m[1])
		} else if m := platformsOf.FindStringSubmatch(e.Output); m != nil {
			e.Message = fmt.Sprintf("%s has wheels for %s only, and this is %s", m[1], strings.ReplaceAll(m[2], "`", ""), interp.Platform)
			e.Remedy = "ask for another version, or for another package"
		}
	}
}

// refineConflict names the author's lines and the versions that clash.
func refineConflict(e *BuildError, said string, reqs []requirement) {
	var lines []string
	for _, m := range youRequire.FindAllStringSubmatch(said, -1) {
		for _, token := range strings.FieldsFunc(m[1], func(r rune) bool { return r == ' ' }) {
			name := requiredName.FindStringSubmatch(strings.TrimSuffix(token, ","))
			if name == nil {
				continue
			}
			for _, r := range reqs {
				place := fmt.Sprintf("line %d (`%s`)", r.line, r.text)
				if r.name == name[1] && r.line > 0 && !slices.Contains(lines, place) {
					lines = append(lines, place)
				}
			}
		}
	}
	slices.SortFunc(lines, compareNumbered)
	switch {
	case len(lines) > 1:
		e.Message = list(lines) + " contradict each other"
	case len(lines) == 1:
		e.Message = lines[0] + " contradicts what every program needs, or itself"
	default:
		e.Message = "the requirements contradict each other"
	}
	var clashes []string
	for _, m := range dependsOn.FindAllStringSubmatch(said, -1) {
		wants := strings.Fields(m[2])
		clash := m[1] + " needs " + strings.TrimSuffix(wants[0], ",")
		if len(wants) > 1 {
			clash = fmt.Sprintf("%s needs one of %s to %s", m[1], wants[0], strings.TrimSuffix(wants[len(wants)-1], ","))
		}
		if !slices.Contains(clashes, clash) {
			clashes = append(clashes, clash)
		}
	}
	if len(clashes) > 0 {
		e.Message += ": " + cut(list(clashes[:min(4, len(clashes))]), 600)
	} else if sentence := conclusion(e.Output); len(lines) < 2 && sentence != "" {
		e.Message += ": " + sentence
	}
}

// compareNumbered compares "line 9 ..." and "line 10 ..." by their numbers.
func compareNumbered(a, b string) int {
	var x, y int
	_, _ = fmt.Sscanf(a, "line %d", &x)
	_, _ = fmt.Sscanf(b, "line %d", &y)
	return x - y
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// refineNotFound says what may have been meant.
func refineNotFound(e *BuildError, said string, reqs []requirement) {
	if e.subject == "" || !strings.Contains(e.Message, "no package") {
		return
	}
	if lineOf(reqs, e.subject) == 0 {
		by := regexp.MustCompile(neededBy + regexp.QuoteMeta(e.subject) + `\b`)
		if m := by.FindStringSubmatch(said); m != nil {
			e.Line = lineOf(reqs, m[1])
			e.Remedy = fmt.Sprintf("`%s` needs it: ask for another version of that", m[1])
		}
		return
	}
	if instead := insteadOf(e.subject); instead != "" {
		e.Remedy = instead
	} else if near := nearNames(e.subject); len(near) > 0 {
		e.Remedy = "did you mean `" + strings.Join(near, "` or `") + "`?"
	}
}

// insteadOf says what to write for the name of a module that is taken for one of a package, "" where there is nothing to say.
func insteadOf(subject string) string {
	if standardLibrary[subject] {
		return "it is in the standard library of Python: remove the line"
	}
	for module, name := range packageOfModule {
		if strings.EqualFold(module, subject) && normalise(name) != normalise(subject) {
			return "did you mean `" + name + "`?"
		}
	}
	return ""
}

// adviceTime bounds what is spent on a better explanation.
const adviceTime = 30 * time.Second

// advise has uv look for what would do instead: other Pythons, another version. It returns err, better explained.
func (b *Builder) advise(ctx context.Context, s scratch, p plan, err error, say func(string)) error {
	e, ok := errors.AsType[*BuildError](err)
	if !ok {
		return err
	}
	refine(e, p.interp, p.reqs)
	ctx, cancel := context.WithTimeout(ctx, adviceTime)
	defer cancel()
	switch {
	case e.Reason == ReasonNoWheel && lineOf(p.reqs, e.subject) > 0 && insteadOf(e.subject) != "":
		e.Remedy = insteadOf(e.subject)
	case e.Reason == ReasonNoWheel:
		say("looking for a Python that would do")
		b.advisePython(ctx, s, p, e)
	case e.Reason == ReasonNotFound && strings.Contains(e.Message, "no version"):
		b.adviseVersion(ctx, s, p, e)
	}
	return e
}

// advisePython names a Python for which the requirements can be fulfilled: one of this machine if there is one.
func (b *Builder) advisePython(ctx context.Context, s scratch, p plan, e *BuildError) {
	silent := func(string) {}
	reqs := withoutOptional(p.reqs)
	tried := map[string]bool{p.interp.Minor: true}
	for _, i := range b.Interpreters(ctx) {
		if i.Unusable != "" || tried[i.Minor] {
			continue
		}
		tried[i.Minor] = true
		if _, err := b.compile(ctx, s, i, reqs, silent); err == nil {
			e.Remedy = fmt.Sprintf("Python %s would do: deploy with --python %s; or %s", i.Minor, i.Minor, e.Remedy)
			return
		}
	}
	here := release(p.interp.Minor)[1]
	for away := 1; away <= highestMinor-lowestMinor; away++ {
		for _, n := range []int{here - away, here + away} {
			minor := fmt.Sprintf("3.%d", n)
			if n < lowestMinor || n > highestMinor || tried[minor] || ctx.Err() != nil {
				continue
			}
			if _, err := b.compile(ctx, s, p.interp, reqs, silent, "--python-version", minor); err == nil {
				e.Remedy = fmt.Sprintf("Python %s would do, which this server lacks: its operator can add it with `apibuilder python`; or %s",
					minor, e.Remedy)
				return
			}
		}
	}
}

// highestMinor is the newest Python 3 that is suggested.
const highestMinor = 14

// adviseVersion names the newest version of a package that there is for this Python.
func (b *Builder) adviseVersion(ctx context.Context, s scratch, p plan, e *BuildError) {
	l, err := b.compile(ctx, s, p.interp, []requirement{{name: e.subject, text: e.subject}}, func(string) {}, "--no-deps")
	if err != nil {
		return
	}
	if _, packages := LockedPackages(l.text); len(packages) == 1 {
		e.Remedy = fmt.Sprintf("ask for a version that exists: the newest that will do is %s", packages[0].Version)
	}
}
