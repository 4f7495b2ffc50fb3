package pythonenv

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxRequirementsBytes = 64 << 10
	maxRequirementsLines = 500
)

// requirement is one line of the author's file. text is written anew from its parts, so nothing of what the author wrote
// can be taken for an option or a path.
type requirement struct {
	line   int    // where it begins; 0: added by us
	name   string // normalised, see PEP 503
	text   string // name[extras]specifiers ; marker
	hashes []string
	ref    *reference // of a direct reference, whose text is head, the reference and tail; nil: of the index
	head   string
	tail   string
}

const (
	namePattern  = `[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?`
	specPattern  = `(?:===|==|!=|<=|>=|~=|<|>)\s*[A-Za-z0-9._*+!-]+`
	specsPattern = specPattern + `(?:\s*,\s*` + specPattern + `)*`
)

var (
	separators = regexp.MustCompile(`[-_.]+`)
	comment    = regexp.MustCompile(`(^|\s)#.*$`)
	options    = regexp.MustCompile(`\s-`)
	hash       = regexp.MustCompile(`^--hash[= ]\s*(sha256:[0-9a-f]{64})$`)
	expansion  = regexp.MustCompile(`\$\{|%[A-Za-z_]+%`)
	line       = regexp.MustCompile(`^(` + namePattern + `)\s*(?:\[([A-Za-z0-9._,\s-]*)\])?\s*` +
		`(?:\(\s*(` + specsPattern + `)\s*\)|(` + specsPattern + `))?\s*(?:;\s*([^\s-].*))?$`)
	marker = regexp.MustCompile(`^[A-Za-z0-9_.,*+!~<>=()"' -]+$`)
)

// normalise gives a project's name its one form.
func normalise(name string) string {
	return strings.ToLower(separators.ReplaceAllString(name, "-"))
}

// parseRequirements reads the part of pip's requirements format that names packages of the index, and refuses the rest
// with a *BuildError that says where and what to do.
func parseRequirements(text string) ([]requirement, error) { return Allow{}.parse(text) }

// parse reads what is allowed besides, too.
func (a Allow) parse(text string) ([]requirement, error) {
	if len(text) > maxRequirementsBytes {
		return nil, refused(0, fmt.Sprintf("the requirements have %d bytes, more than %d", len(text), maxRequirementsBytes),
			"list only the packages that the program imports")
	}
	if !utf8.ValidString(text) {
		return nil, refused(0, "the requirements are not UTF-8 text", "save the file as UTF-8")
	}
	lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	if len(lines) > maxRequirementsLines+1 {
		return nil, refused(0, fmt.Sprintf("the requirements have more than %d lines", maxRequirementsLines),
			"list only the packages that the program imports")
	}
	var reqs []requirement
	for i := 0; i < len(lines); {
		first := i + 1
		var logical string
		logical, i = joinLines(lines, i)
		logical = strings.TrimSpace(comment.ReplaceAllString(logical, ""))
		if logical == "" {
			continue
		}
		r, err := a.parseLine(first, logical)
		if err != nil {
			return nil, err
		}
		reqs = append(reqs, r)
	}
	return reqs, nil
}

// joinLines returns the line at i with its continuations, and where the next one begins. A comment is not continued.
func joinLines(lines []string, i int) (string, int) {
	var joined strings.Builder
	for ; i < len(lines); i++ {
		l := strings.TrimSuffix(lines[i], "\r")
		rest, continued := strings.CutSuffix(l, `\`)
		if isComment := strings.HasPrefix(strings.TrimSpace(l), "#"); isComment || !continued {
			if isComment {
				joined.WriteByte(' ') // so that it is one after what was continued, too
			}
			joined.WriteString(l)
			return joined.String(), i + 1
		}
		joined.WriteString(rest)
	}
	return joined.String(), i
}

// parseLine reads one logical line without its comment.
func (a Allow) parseLine(n int, s string) (requirement, error) {
	if err := refuseForm(n, s); err != nil {
		return requirement{}, err
	}
	if !a.any() {
		if err := refusePlace(n, s); err != nil {
			return requirement{}, err
		}
	}
	head, opts := s, ""
	if at := options.FindStringIndex(s); at != nil {
		head, opts = strings.TrimSpace(s[:at[0]]), s[at[0]:]
	}
	hashes, err := parseHashes(n, opts)
	if err != nil {
		return requirement{}, err
	}
	if isDirect(head) {
		return a.parseDirect(n, head, hashes)
	}
	if err := refusePlace(n, s); err != nil {
		return requirement{}, err
	}
	m := line.FindStringSubmatch(head)
	if m == nil || m[5] != "" && !marker.MatchString(m[5]) {
		return requirement{}, refused(n, fmt.Sprintf("%s is not a requirement", quoted(head)),
			`write a package's name and its version, for example "pillow==10.4.0"`)
	}
	r := requirement{line: n, name: normalise(m[1]), hashes: hashes}
	r.text = r.name + extras(m[2]) + strings.Join(strings.Fields(m[3]+m[4]), "")
	if m[5] != "" {
		r.text += " ; " + strings.TrimSpace(m[5])
	}
	return r, nil
}

// extras returns "[a,b]" in normal form.
func extras(list string) string {
	var names []string
	for _, name := range strings.Split(list, ",") {
		if name = normalise(strings.TrimSpace(name)); name != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return "[" + strings.Join(slices.Compact(names), ",") + "]"
}

func parseHashes(n int, opts string) ([]string, error) {
	var hashes []string
	words := strings.Fields(opts)
	for i := 0; i < len(words); i++ {
		word := words[i]
		if word == "--hash" && i+1 < len(words) {
			i++
			word += " " + words[i]
		}
		m := hash.FindStringSubmatch(word)
		switch {
		case m != nil:
			hashes = append(hashes, m[1])
		case strings.HasPrefix(word, "--hash"):
			return nil, refused(n, fmt.Sprintf("%s is not a hash that is understood here", quoted(word)),
				"use --hash=sha256: and 64 lower-case hexadecimal digits")
		default:
			return nil, refuseOption(n, word)
		}
	}
	slices.Sort(hashes)
	return slices.Compact(hashes), nil
}

// runtimePackages are what the runner needs to serve a program; those that are optional make it faster.
var runtimePackages = []struct {
	name     string
	optional bool
}{
	{"fastapi", false},
	{"uvicorn", false},
	{"websockets", false},
	{"python-multipart", false},
	{"uvloop", true},
	{"httptools", true},
}

// withRuntime adds what the runner needs where the author does not name it, and sorts.
func withRuntime(reqs []requirement) []requirement {
	all := slices.Clone(reqs)
	for _, p := range runtimePackages {
		if !slices.ContainsFunc(reqs, func(r requirement) bool { return r.name == p.name }) {
			all = append(all, requirement{name: p.name, text: p.name})
		}
	}
	slices.SortStableFunc(all, func(a, b requirement) int { return strings.Compare(a.text, b.text) })
	return all
}

// withoutOptional leaves out what was added to be faster only.
func withoutOptional(reqs []requirement) []requirement {
	return slices.DeleteFunc(slices.Clone(reqs), func(r requirement) bool {
		return r.line == 0 && isOptional(r.name)
	})
}

func isOptional(name string) bool {
	for _, p := range runtimePackages {
		if p.name == name {
			return p.optional
		}
	}
	return false
}

// Names returns the projects that an environment with these requirements is asked for, those that the runner needs among them,
// in their normal form (PEP 503). It refuses what Ensure of a builder with this Allow refuses before it asks the index: its error
// is a *BuildError.
func (a Allow) Names(requirements string) ([]string, error) {
	reqs, err := a.parse(requirements)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range withRuntime(reqs) {
		names = append(names, r.name)
	}
	return names, nil
}
