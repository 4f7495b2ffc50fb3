package pythonenv

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// entry is one file or link of an environment, for a directory only its path and mode.
type entry struct {
	Path   string      `json:"path"` // below the environment
	Mode   os.FileMode `json:"mode"`
	Size   int64       `json:"size,omitempty"`
	SHA256 string      `json:"sha256,omitempty"` // of a file's content
	Target string      `json:"target,omitempty"` // of a link
}

// contentsName is the file in an environment that lists everything else in it but the manifest, one entry a line. Its hash
// is in the manifest.
const contentsName = "environment.files"

// hashAll fills in the hashes of all files, several at a time.
func hashAll(env string, entries []entry) error {
	return severally(len(entries), func(i int, buffer []byte) error {
		if !entries[i].Mode.IsRegular() {
			return nil
		}
		sum, err := hashFile(filepath.Join(env, entries[i].Path), buffer)
		if err != nil {
			return fmt.Errorf("hash the environment: %w", err)
		}
		entries[i].SHA256 = sum
		return nil
	})
}

// severally calls do for each number below n, several at a time, each with a buffer of its own for hashFile. A goroutine ends with its first
// error, and the first of all is returned.
func severally(n int, do func(i int, buffer []byte) error) error {
	var next atomic.Int64
	var group errgroup.Group
	for range runtime.NumCPU() {
		group.Go(func() error {
			buffer := make([]byte, 128<<10)
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(i, buffer); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func hashFile(path string, buffer []byte) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, buffer); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writeContents writes the list and returns its hash.
func writeContents(env string, entries []entry) (string, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	for _, e := range entries {
		if err := encoder.Encode(e); err != nil {
			return "", fmt.Errorf("list the environment's files: %w", err)
		}
	}
	if err := writeNew(filepath.Join(env, contentsName), text.Bytes()); err != nil {
		return "", fmt.Errorf("list the environment's files: %w", err)
	}
	sum := sha256.Sum256(text.Bytes())
	return hex.EncodeToString(sum[:]), nil
}

// writeNew writes a file of root's that everybody may read. What a package put there before goes.
func writeNew(path string, text []byte) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Chmod(0o444), f.Close())
}

// Finding is one difference between an environment and what was built.
type Finding struct {
	Path    string // below the environment; empty: all of it
	Problem string // "changed", "missing", "added", or a sentence
}

// Verify compares every file of an environment with the hashes that were taken when it was built. No finding means that
// it is what was built. An error means that it could not be looked at.
func (b *Builder) Verify(ctx context.Context, key string) ([]Finding, error) {
	if !keyPattern.MatchString(key) {
		return nil, fmt.Errorf("verify an environment: %q is not a key", key)
	}
	env := b.path(key)
	m, err := readManifest(b.cfg.Dir, key)
	if err != nil {
		return nil, err
	}
	if m.Contents == "" {
		return []Finding{{Problem: "it was built by a version that kept no hashes: remove it to have it built again"}}, nil
	}
	want, err := readContents(env, m.Contents)
	if err != nil {
		return []Finding{{Path: contentsName, Problem: "changed"}}, nil //nolint:nilerr // that is what was found
	}
	var have []entry
	if err := walk(env, func(e entry) error { have = append(have, e); return ctx.Err() }); err != nil {
		return nil, fmt.Errorf("verify the environment: %w", err)
	}
	have = slices.DeleteFunc(have, func(e entry) bool { return e.Path == contentsName || e.Path == manifestName })
	if err := hashAll(env, have); err != nil {
		return nil, err
	}
	return compare(want, have), nil
}

func readContents(env, sum string) ([]entry, error) {
	text, err := os.ReadFile(filepath.Join(env, contentsName))
	if err != nil {
		return nil, err
	}
	if got := sha256.Sum256(text); hex.EncodeToString(got[:]) != sum {
		return nil, errors.New("the list of files is not the one that was written")
	}
	var entries []entry
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, lines.Err()
}

func compare(want, have []entry) []Finding {
	var found []Finding
	left := map[string]entry{}
	for _, e := range have {
		left[e.Path] = e
	}
	for _, e := range want {
		switch got, ok := left[e.Path]; {
		case !ok:
			found = append(found, Finding{e.Path, "missing"})
		case got != e:
			found = append(found, Finding{e.Path, "changed"})
		}
		delete(left, e.Path)
	}
	for path := range left {
		found = append(found, Finding{path, "added"})
	}
	slices.SortFunc(found, func(a, b Finding) int { return strings.Compare(a.Path, b.Path) })
	return found
}
