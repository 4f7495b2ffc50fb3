package pythonenv

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// AllSources in a list of source distributions means every package that has no wheel.
const AllSources = "all"

// sources are the packages that a build may make from source, which runs their authors' code in the jail.
type sources struct {
	named []string // normalised and sorted, or AllSources alone
	git   []string // likewise; those that lie in repositories
}

var projectName = regexp.MustCompile(`^` + namePattern + `$`)

// newSources reads names of packages.
func newSources(names []string) (sources, error) {
	var s sources
	for _, name := range names {
		if !projectName.MatchString(name) {
			return s, refused(0, quoted(name)+" is not the name of a package", "name the packages that are to be built from source, or \"all\"")
		}
		s.named = append(s.named, normalise(name))
	}
	slices.Sort(s.named)
	s.named = slices.Compact(s.named)
	if slices.Contains(s.named, AllSources) {
		s.named = []string{AllSources}
	}
	return s, nil
}

func (s sources) all() bool { return slices.Contains(s.named, AllSources) }

// any reports whether code of packages runs.
func (s sources) any() bool { return len(s.named)+len(s.git) > 0 }

// args keep uv from building anything else.
func (s sources) args() []string {
	if s.all() {
		return nil
	}
	args := []string{"--only-binary", ":all:"}
	for _, name := range slices.Concat(s.named, s.git) {
		args = append(args, "--no-binary", name) // which is stronger for the package that it names
	}
	return args
}

// header is the line of a lock that names them, without what its lines tell; empty when there is none.
func (s sources) header() string {
	if len(s.named) == 0 {
		return ""
	}
	return sourceHeader + strings.Join(s.named, " ") + "\n"
}

const sourceHeader = "# from source: "

// cutSources takes the line off a lock's lines.
func cutSources(lines string) (sources, string, error) {
	line, rest, _ := strings.Cut(lines, "\n")
	names, found := strings.CutPrefix(line, sourceHeader)
	if !found {
		return sources{}, lines, nil
	}
	s, err := newSources(strings.Fields(names))
	if err != nil || s.header() != line+"\n" {
		return s, "", fmt.Errorf("read what the lock builds from source: %s", quoted(line))
	}
	return s, rest, nil
}

// SameSources reports whether two lists of packages that are built from source mean the same.
func SameSources(a, b []string) bool {
	first, err := newSources(a)
	second, err2 := newSources(b)
	return err == nil && err2 == nil && slices.Equal(first.named, second.named)
}

// LockedSources lists the packages that a lock builds from source by a Request's choice, normalised and sorted.
func LockedSources(text string) []string {
	_, lines, _ := strings.Cut(text, "\n")
	s, _, err := cutSources(lines)
	if err != nil {
		return nil
	}
	return s.named
}
