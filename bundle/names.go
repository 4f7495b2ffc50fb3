package bundle

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// maxDirs bounds the directories of a bundle, those that are there by their files alone too.
const maxDirs = 2*MaxFiles + 1

// names are the paths of a bundle so far. Two that differ in case or in Unicode's ways of writing the same are one: some
// systems would write the second over the first.
type names struct {
	files, dirs map[string]string // by folded path: as it was written
}

func newNames() *names {
	return &names{files: map[string]string{}, dirs: map[string]string{}}
}

// add checks a path and takes it up; dir: it is a directory.
func (n *names) add(path string, dir bool) error {
	if err := checkPath(path); err != nil {
		return err
	}
	for i, c := range path {
		if c == '/' {
			if err := n.addDir(path[:i], path); err != nil {
				return err
			}
		}
	}
	if dir {
		return n.addDir(path, path)
	}
	key := fold(path)
	if other, ok := n.files[key]; ok {
		if other == path {
			return wrong(path, "is there twice", "pack each file once")
		}
		return wrong(path, fmt.Sprintf("differs from %q in case or spelling alone", other), "rename one of them")
	}
	if other, ok := n.dirs[key]; ok {
		return wrong(path, fmt.Sprintf("is a file and %q a directory", other), "rename one of them")
	}
	if len(n.files) == MaxFiles {
		return tooMany()
	}
	n.files[key] = path
	return nil
}

func (n *names) addDir(dir, of string) error {
	key := fold(dir)
	if other, ok := n.files[key]; ok {
		return wrong(of, fmt.Sprintf("is below %q, which is a file", other), "rename one of them")
	}
	if other, ok := n.dirs[key]; ok && other != dir {
		return wrong(of, fmt.Sprintf("is in a directory that differs from %q in case or spelling alone", other), "rename one of them")
	}
	if _, ok := n.dirs[key]; !ok && len(n.dirs) == maxDirs {
		return tooMany()
	}
	n.dirs[key] = dir
	return nil
}

func fold(path string) string { return norm.NFC.String(cases.Fold().String(norm.NFC.String(path))) }

// checkPath refuses what is no plain relative path on every system.
func checkPath(path string) error {
	switch {
	case path == "":
		return wrong("", "an entry has no name", "pack the files again")
	case !utf8.ValidString(path):
		return wrong(path, "has a name that is not UTF-8", "rename it")
	case len(path) > MaxPathBytes:
		return wrong(path[:60]+"...", fmt.Sprintf("has a path of more than %d bytes", MaxPathBytes), "use shorter names")
	case strings.HasPrefix(path, "/"):
		return wrong(path, "is an absolute path", "pack the files with paths from the program's own folder")
	case strings.ContainsRune(path, '\\'):
		return wrong(path, "has a backslash in its name", "separate directories by /, and rename files whose names have one")
	case strings.ContainsFunc(path, func(c rune) bool { return !unicode.IsPrint(c) }):
		return wrong(path, "has characters in its name that cannot be printed", "rename it")
	}
	parts := strings.Split(path, "/")
	if len(parts) > MaxDepth {
		return wrong(path, fmt.Sprintf("is below more than %d directories", MaxDepth-1), "use fewer")
	}
	for _, part := range parts {
		switch {
		case part == ".." || part == ".":
			return wrong(path, fmt.Sprintf("has %q in its path", part), "pack the files with paths from the program's own folder")
		case part == "":
			return wrong(path, "has an empty name in its path", "pack the files again")
		case len(part) > 255:
			return wrong(path[:60]+"...", "has a name of more than 255 bytes", "use shorter names")
		}
	}
	return nil
}
