package bundle

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// Folder is a folder on this machine that a program is in.
type Folder struct {
	Bundle *Bundle
	Dirs   []string // those that were read, with their paths below dir's
	// Secrets are files left out because they usually hold secrets, though nothing in the folder says so.
	Secrets []string
}

// ReadFolder reads the files below dir as they are now, whether a repository knows them or not, but for what Ignored says.
// A link to a file in the folder is that file; other links are an error, as is what is neither file nor directory. Errors are
// *Error, or the file system's.
func ReadFolder(dir string) (Folder, error) {
	ignored, err := ReadIgnored(dir)
	if err != nil {
		return Folder{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Folder{}, err
	}
	defer root.Close()
	r := folderReader{root: root, ignored: ignored}
	if err := r.read("."); err != nil {
		return Folder{Dirs: r.dirs}, err
	}
	b, err := New(r.files)
	return Folder{b, r.dirs, r.secrets}, err
}

type folderReader struct {
	root    *os.Root
	ignored *Ignored
	files   []File
	bytes   int64
	secrets []string
	dirs    []string
}

func (r *folderReader) read(dir string) error {
	r.dirs = append(r.dirs, filepath.Join(r.root.Name(), dir))
	entries, err := fs.ReadDir(r.root.FS(), dir)
	if err != nil {
		return err
	}
	if err := r.ignored.enter(r.root, dir); err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch {
		case r.ignored.Has(name, e.IsDir()):
			if !e.IsDir() && slices.Contains(secretFiles, e.Name()) && !r.ignored.byFiles(name) {
				r.secrets = append(r.secrets, name)
			}
		case e.IsDir() && isEnvironment(r.root, name):
		case e.IsDir():
			err = r.read(name)
		default:
			err = r.take(name, e.Type())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *folderReader) take(name string, kind fs.FileMode) error {
	const leaveOut = "leave it out, in .apibuilderignore"
	info, err := r.root.Stat(name) // which a link out of the folder fails
	switch {
	case err != nil && kind&fs.ModeSymlink != 0:
		return wrong(name, "is a link that leads out of the folder, or nowhere", "copy the file that it points to, or "+leaveOut)
	case err != nil:
		return err
	case info.IsDir():
		return wrong(name, "is a link to a directory", "copy the directory, or "+leaveOut)
	case !info.Mode().IsRegular():
		return wrong(name, "is no regular file", leaveOut)
	}
	if r.bytes += info.Size(); r.bytes > MaxBytes {
		return tooLarge()
	}
	if len(r.files) == MaxFiles {
		return tooMany()
	}
	file, err := r.root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, MaxBytes+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Join(r.root.Name(), name), err)
	}
	r.files = append(r.files, File{name, content})
	return nil
}

// isEnvironment recognises a virtual environment (PEP 405), whatever it is called.
func isEnvironment(root *os.Root, dir string) bool {
	_, err := root.Stat(path.Join(dir, "pyvenv.cfg"))
	return err == nil
}
