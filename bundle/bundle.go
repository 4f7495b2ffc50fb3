// Package bundle is a program of several files: modules and data. It is read from a folder or from a zip archive, both of
// which may be anybody's, checked, found its entry point in, and laid out in a directory that sandboxes are shown read-only.
package bundle

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Bounds of a bundle.
const (
	MaxFiles        = 2000
	MaxBytes        = 32 << 20 // of all files together
	MaxArchiveBytes = MaxBytes + 1<<20
	MaxPathBytes    = 400
	MaxDepth        = 20 // names in a path
)

// File is one regular file.
type File struct {
	Path    string // from the bundle's root, with slashes: "pkg/main.py"
	Content []byte
}

// Bundle is a set of files that was checked. It does not change, and may be used concurrently.
type Bundle struct {
	files []File // by path
	bytes int64
}

// Error says what is wrong with a bundle; it is the author's to mend.
type Error struct {
	Entry   string // the file or archive entry; empty: the bundle as a whole
	Message string
	Remedy  string
}

// Error is a sentence that names the entry.
func (e *Error) Error() string {
	if e.Entry == "" {
		return e.Message
	}
	return fmt.Sprintf("%q %s", e.Entry, e.Message)
}

func wrong(entry, message, remedy string) error { return &Error{entry, message, remedy} }

// New checks files and makes a bundle of them. It keeps their content, which must not change any more. Errors are *Error.
func New(files []File) (*Bundle, error) {
	names := newNames()
	b := &Bundle{files: slices.Clone(files)}
	for _, f := range files {
		if err := names.add(f.Path, false); err != nil {
			return nil, err
		}
		if b.bytes += int64(len(f.Content)); b.bytes > MaxBytes {
			return nil, tooLarge()
		}
	}
	if len(files) == 0 {
		return nil, wrong("", "there is no file", "hand in at least a module that makes a FastAPI object")
	}
	slices.SortFunc(b.files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return b, nil
}

func tooLarge() error {
	return wrong("", fmt.Sprintf("the files have more than %d MiB together", MaxBytes>>20),
		"leave out what the program does not need, in .apibuilderignore, or move data out of it")
}

func tooMany() error {
	return wrong("", fmt.Sprintf("there are more than %d files", MaxFiles),
		"leave out what the program does not need, in .apibuilderignore, or move parts of it into a package")
}

// Len is the number of files.
func (b *Bundle) Len() int { return len(b.files) }

// Bytes is what all files have together.
func (b *Bundle) Bytes() int64 { return b.bytes }

// File returns a file's content.
func (b *Bundle) File(path string) (content []byte, ok bool) {
	at, ok := slices.BinarySearchFunc(b.files, path, func(f File, path string) int { return strings.Compare(f.Path, path) })
	if !ok {
		return nil, false
	}
	return b.files[at].Content, true
}

// Files lists all by path. The list and what it holds must not be changed.
func (b *Bundle) Files() []File { return b.files }

// Hash names the content: 64 hexadecimal digits that are the same for equal files at equal paths, and for no others.
func (b *Bundle) Hash() string {
	h := sha256.New()
	for _, f := range b.files {
		fmt.Fprintf(h, "%d %s %d ", len(f.Path), f.Path, len(f.Content))
		h.Write(f.Content)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Archive is a zip archive of the files, which Open reads. It holds no times, owners or modes.
func (b *Bundle) Archive() ([]byte, error) {
	var buffer bytes.Buffer
	w := zip.NewWriter(&buffer)
	for _, f := range b.files {
		part, err := w.CreateHeader(&zip.FileHeader{Name: f.Path, Method: zip.Deflate})
		if err == nil {
			_, err = part.Write(f.Content)
		}
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack the files: %w", err)
	}
	return buffer.Bytes(), nil
}
