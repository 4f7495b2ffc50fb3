package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func folderOf(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func paths(b *Bundle) []string {
	var all []string
	for _, f := range b.Files() {
		all = append(all, f.Path)
	}
	return all
}

func TestFolderLeavesOutWhatIsIgnored(t *testing.T) {
	top := folderOf(t, t.TempDir(), map[string]string{
		".git/HEAD": "ref: x", ".gitignore": "*.log\n/services/shop/secret.txt\n!keep.log\n",
		"other.py": "x",
	})
	dir := folderOf(t, filepath.Join(top, "services/shop"), map[string]string{
		"main.py": makes, "pkg/__init__.py": "", "pkg/data.csv": "1,2", "a.log": "x", "keep.log": "x", "secret.txt": "x",
		"__pycache__/main.pyc": "x", "node_modules/x/y.js": "x", ".venv/bin/python": "x", "env39/pyvenv.cfg": "x", "env39/lib/a.py": "x",
		".env": "SECRET=1", "pkg/.env": "SECRET=1", "notes/draft.md": "x", "notes/final.md": "x", "big.bin": "x",
		"notes/.gitignore": "draft*\n", ".apibuilderignore": "# not for the sandbox\nbig.bin\n!pkg/.env\n",
	})
	f, err := ReadFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"keep.log", "main.py", "notes/final.md", "pkg/.env", "pkg/__init__.py", "pkg/data.csv"}
	if got := paths(f.Bundle); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	if !slices.Equal(f.Secrets, []string{".env"}) {
		t.Errorf("secrets %q", f.Secrets)
	}
	if !slices.Contains(f.Dirs, filepath.Join(dir, "pkg")) || slices.Contains(f.Dirs, filepath.Join(dir, "node_modules")) {
		t.Errorf("directories %q", f.Dirs)
	}
}

// TestIgnoreFilesWithAByteOrderMark has the mark that Windows' editors write, which git overlooks.
func TestIgnoreFilesWithAByteOrderMark(t *testing.T) {
	for _, name := range []string{".gitignore", ".apibuilderignore"} {
		dir := folderOf(t, t.TempDir(), map[string]string{"main.py": makes, "key.pem": "secret", name: "\ufeff*.pem\r\n"})
		f, err := ReadFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := paths(f.Bundle); slices.Contains(got, "key.pem") {
			t.Errorf("%s: files %q", name, got)
		}
	}
}

func TestFolderFollowsNoLinkOut(t *testing.T) {
	for name, c := range map[string]struct {
		make func(dir string) error
		says string // empty: it is taken
	}{
		"a file inside":  {func(dir string) error { return os.Symlink("main.py", dir+"/link.py") }, ""},
		"a file outside": {func(dir string) error { return os.Symlink("/etc/passwd", dir+"/link.py") }, `"link.py" is a link that leads out`},
		"above":          {func(dir string) error { return os.Symlink("../../etc/passwd", dir+"/link.py") }, "leads out"},
		"nothing":        {func(dir string) error { return os.Symlink("gone", dir+"/link.py") }, "or nowhere"},
		"a directory":    {func(dir string) error { return os.Symlink(".", dir+"/loop") }, `"loop" is a link to a directory`},
		"a pipe":         {func(dir string) error { return unix.Mkfifo(dir+"/pipe", 0o600) }, `"pipe" is no regular file`},
		"an ignored pipe": {func(dir string) error {
			return errors.Join(unix.Mkfifo(dir+"/pipe", 0o600), os.WriteFile(dir+"/.gitignore", []byte("pipe"), 0o600))
		}, ""},
		"case": {func(dir string) error { return os.WriteFile(dir+"/MAIN.py", nil, 0o600) }, "in case or spelling"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folderOf(t, t.TempDir(), map[string]string{"main.py": makes})
			if err := c.make(dir); err != nil {
				t.Fatal(err)
			}
			f, err := ReadFolder(dir)
			if c.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				if link, ok := f.Bundle.File("link.py"); ok && string(link) != makes {
					t.Errorf("the link holds %q", link)
				}
				return
			}
			var wrong *Error
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
}

func TestFolderIsBounded(t *testing.T) {
	dir := folderOf(t, t.TempDir(), map[string]string{"main.py": makes})
	for range 2 {
		name := filepath.Join(dir, strings.Repeat("x", len(dir)%7+1))
		f, err := os.CreateTemp(dir, filepath.Base(name))
		if err == nil {
			err = errors.Join(f.Truncate(MaxBytes/2+1), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ReadFolder(dir); err == nil || !strings.Contains(err.Error(), "more than 32 MiB") {
		t.Errorf("error %v", err)
	}
}
