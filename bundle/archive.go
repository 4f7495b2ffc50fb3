package bundle

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// maxHeaders bounds how many entries an archive's directory may seem to have before it is read at all: the reader makes a
// record for each. Archives among the files have such marks of their own.
const maxHeaders = 100_000

var headerMark = []byte("PK\x01\x02") // of an entry in the directory at the end (PKWARE's APPNOTE, 4.3.12)

// Open reads a zip archive of anybody's. It takes regular files, stored or deflated, and refuses everything else: links,
// devices, encryption, names that lead out of the root, names that are there twice or differ in case alone, and more than the
// bounds. Directories are there by their files; empty ones are left out. Errors are *Error.
func Open(archive []byte) (*Bundle, error) {
	if len(archive) > MaxArchiveBytes {
		return nil, wrong("", fmt.Sprintf("the archive has more than %d MiB", MaxArchiveBytes>>20),
			"leave out what the program does not need, or move data out of it")
	}
	if bytes.Count(archive, headerMark) > maxHeaders {
		return nil, tooMany()
	}
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, wrong("", "this is no zip archive: "+err.Error(), "pack the folder's content with `zip -r app.zip .`")
	}
	if len(r.File) > MaxFiles+maxDirs {
		return nil, tooMany()
	}
	names, left := newNames(), int64(MaxBytes)
	var files []File
	for _, entry := range r.File {
		path, isDir := strings.CutSuffix(entry.Name, "/")
		if err := names.add(path, isDir); err != nil {
			return nil, err
		}
		if err := checkKind(entry, isDir); err != nil {
			return nil, err
		}
		if isDir {
			continue
		}
		content, err := readEntry(entry, left)
		if err != nil {
			return nil, err
		}
		left -= int64(len(content))
		files = append(files, File{path, content})
	}
	return New(files)
}

func checkKind(entry *zip.File, isDir bool) error {
	kind := entry.Mode().Type()
	switch {
	case kind&fs.ModeSymlink != 0:
		return wrong(entry.Name, "is a link", "pack the file that it points to")
	case isDir && kind != fs.ModeDir && kind != 0, !isDir && kind != 0:
		return wrong(entry.Name, "is no regular file", "leave it out")
	case isDir && entry.UncompressedSize64 > 0:
		return wrong(entry.Name, "is a directory with content", "pack the files again")
	case entry.Flags&0x1 != 0:
		return wrong(entry.Name, "is encrypted", "pack the files without a password")
	case entry.Method != zip.Store && entry.Method != zip.Deflate:
		return wrong(entry.Name, fmt.Sprintf("is compressed by method %d", entry.Method), "pack the files with `zip`, which deflates")
	}
	return nil
}

// readEntry reads at most so many bytes, whatever the archive says about the size.
func readEntry(entry *zip.File, most int64) ([]byte, error) {
	if entry.UncompressedSize64 > uint64(most) {
		return nil, tooLarge()
	}
	damaged := func(err error) error {
		return wrong(entry.Name, "cannot be read: "+err.Error(), "pack the files again")
	}
	r, err := entry.Open()
	if err != nil {
		return nil, damaged(err)
	}
	content, err := io.ReadAll(io.LimitReader(r, most+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, damaged(err)
	}
	if int64(len(content)) > most {
		return nil, tooLarge()
	}
	return content, nil
}
