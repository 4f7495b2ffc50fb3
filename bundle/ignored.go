package bundle

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

// secretFiles hold secrets by custom. A program gets those by its environment variables instead.
var secretFiles = []string{".env"}

// always is what no program needs in its sandbox. A folder's own files may take it back, with a line like !.env.
var always = append([]string{
	".git", ".hg", ".svn", ".apibuilderignore", ".gitignore", ".gitattributes",
	"__pycache__", "*.pyc", ".venv", "node_modules", ".tox", ".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints",
	".idea", ".vscode", ".DS_Store", "*.swp", "*~", "4913", // what editors leave and make for a moment
}, secretFiles...)

// ignoreFiles are read in every directory, in this order: a later line counts more.
var ignoreFiles = []string{".gitignore", ".apibuilderignore"}

const maxIgnoreFile = 1 << 20

// Ignored says which files of a folder are not part of the program: what is of no use in a sandbox, what the .gitignore files
// in the folder and above it in its repository say, and what .apibuilderignore files in it say, in the way of gitignore(5).
type Ignored struct {
	prefix []string            // of the folder in its repository
	files  []gitignore.Pattern // what the folder's own files say
	all    gitignore.Matcher
}

// ReadIgnored reads what is said above the folder and at its root. The directories in it are read as they are entered.
func ReadIgnored(dir string) (*Ignored, error) {
	at, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	i := &Ignored{}
	above := repositoryAbove(at)
	if above != "" {
		rel, err := filepath.Rel(above, at)
		if err != nil {
			return nil, err
		}
		if rel != "." {
			i.prefix = strings.Split(filepath.ToSlash(rel), "/")
		}
	}
	for n := range i.prefix {
		root, err := os.OpenRoot(filepath.Join(append([]string{above}, i.prefix[:n]...)...))
		if err != nil {
			return nil, err
		}
		err = i.readFile(root, ".gitignore", i.prefix[:n])
		if err = errors.Join(err, root.Close()); err != nil {
			return nil, err
		}
	}
	i.compile()
	return i, nil
}

// repositoryAbove is the nearest directory from dir upwards that has a .git; empty: there is none.
func repositoryAbove(dir string) string {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// enter reads what a directory of the folder says.
func (i *Ignored) enter(root *os.Root, dir string) error {
	domain := slices.Clone(i.prefix)
	if dir != "." {
		domain = append(domain, strings.Split(dir, "/")...)
	}
	for _, name := range ignoreFiles {
		if err := i.readFile(root, path.Join(dir, name), domain); err != nil {
			return err
		}
	}
	i.compile()
	return nil
}

func (i *Ignored) readFile(root *os.Root, name string, domain []string) error {
	file, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxIgnoreFile))
	if err != nil {
		return err
	}
	// Git overlooks a byte order mark, too: else the first line would leave nothing out.
	for line := range strings.Lines(strings.TrimPrefix(string(text), "\ufeff")) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
			i.files = append(i.files, gitignore.ParsePattern(line, slices.Clone(domain)))
		}
	}
	return nil
}

func (i *Ignored) compile() {
	patterns := make([]gitignore.Pattern, 0, len(always)+len(i.files))
	for _, line := range always {
		patterns = append(patterns, gitignore.ParsePattern(line, nil))
	}
	i.all = gitignore.NewMatcher(append(patterns, i.files...))
}

// Has reports whether a path below the folder is left out; dir: it is a directory, with all that is in it.
func (i *Ignored) Has(name string, dir bool) bool {
	return i.all.Match(append(slices.Clone(i.prefix), strings.Split(name, "/")...), dir)
}

// byFiles reports whether the folder's own files leave it out.
func (i *Ignored) byFiles(name string) bool {
	return gitignore.NewMatcher(i.files).Match(append(slices.Clone(i.prefix), strings.Split(name, "/")...), false)
}
