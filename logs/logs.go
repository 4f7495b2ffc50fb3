// Package logs keeps what the programs print: for each API the newest few megabytes, in two files of JSON lines that take
// turns. Whoever follows an API gets every line that is appended after the ones that were there.
//
// What is kept is untrusted text. Each line is bounded and is valid UTF-8, but may hold anything that a terminal obeys.
package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	fileBytes = 4 << 20  // of each of an API's two files
	textBytes = 16 << 10 // of one line's text
	openFiles = 256      // kept open between lines, over all APIs; others are opened for each line
)

// Line is one line of an API's output.
type Line struct {
	Time    time.Time `json:"time"`
	Version int       `json:"version"`
	Stream  string    `json:"stream"` // stdout, stderr, sandbox for what is said about it, or build for that of its environment
	Text    string    `json:"text"`
}

// Book holds the logs of all APIs below one directory, which nobody else writes to. It may be used concurrently. Close it.
type Book struct {
	dir string

	open  atomic.Int64 // files open
	mu    sync.Mutex
	pages map[string]*page
}

// New returns the Book of dir. It does no I/O; the directory is made when the first line comes.
func New(dir string) *Book { return &Book{dir: dir, pages: map[string]*page{}} }

// page is one API's log. Its lock may be taken inside the Book's, never around it.
type page struct {
	path string
	open *atomic.Int64

	mu        sync.Mutex
	file      *os.File // nil: not open
	size      int64
	followers map[*Follower]struct{}
}

// Append adds a line. Text beyond 16 KiB is cut.
func (b *Book) Append(api string, l Line) error {
	if len(l.Text) > textBytes {
		l.Text = l.Text[:textBytes] + " [cut]"
	}
	l.Text = strings.ToValidUTF8(l.Text, "\uFFFD")
	l.Time = l.Time.UTC()
	raw, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode a log line of %s: %w", api, err)
	}
	p, err := b.page(api)
	if err != nil {
		return err
	}
	return p.append(append(raw, '\n'), l)
}

// Tail returns the newest lines, at most n, oldest first; none for an API that printed nothing.
func (b *Book) Tail(api string, n int) ([]Line, error) {
	p, err := b.page(api)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tailLocked(n)
}

// Follow returns the newest lines as Tail does, and a Follower that gets every line appended after them. Close it.
func (b *Book) Follow(api string, n int) ([]Line, *Follower, error) {
	p, err := b.page(api)
	if err != nil {
		return nil, nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	lines, err := p.tailLocked(n)
	if err != nil {
		return nil, nil, err
	}
	f := &Follower{page: p, lines: make(chan Line, followerLines)}
	p.followers[f] = struct{}{}
	return lines, f, nil
}

// Remove deletes an API's log and ends its followers.
func (b *Book) Remove(api string) error {
	p, err := b.page(api)
	if err != nil {
		return err
	}
	b.mu.Lock()
	delete(b.pages, api)
	b.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	errs := []error{p.closeLocked()}
	for f := range p.followers {
		p.dropLocked(f)
	}
	for _, path := range []string{p.path, p.path + ".1"} {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the log of %s: %w", api, err)
	}
	return nil
}

// Close closes the files and ends all followers. The Book is not used after it.
func (b *Book) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, p := range b.pages {
		p.mu.Lock()
		errs = append(errs, p.closeLocked())
		for f := range p.followers {
			p.dropLocked(f)
		}
		p.mu.Unlock()
	}
	return errors.Join(errs...)
}

// page finds or makes an API's page. A page stays: two of one API would not know of each other's followers.
func (b *Book) page(api string) (*page, error) {
	if api == "" || api != filepath.Base(api) || strings.HasPrefix(api, ".") {
		return nil, fmt.Errorf("%q is no API's id", api)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.pages[api]; p != nil {
		return p, nil
	}
	p := &page{path: filepath.Join(b.dir, api+".jsonl"), open: &b.open, followers: map[*Follower]struct{}{}}
	b.pages[api] = p
	return p, nil
}

func (p *page) append(raw []byte, l Line) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.writeLocked(raw)
	for f := range p.followers {
		f.send(l)
	}
	return err
}

func (p *page) writeLocked(raw []byte) error {
	if p.file == nil {
		if err := p.openLocked(); err != nil {
			return fmt.Errorf("open the log %s: %w", filepath.Base(p.path), err)
		}
	}
	if p.size+int64(len(raw)) > fileBytes {
		if err := p.turnLocked(); err != nil {
			return fmt.Errorf("turn the log %s: %w", filepath.Base(p.path), err)
		}
	}
	n, err := p.file.Write(raw)
	p.size += int64(n)
	if p.open.Load() > openFiles {
		err = errors.Join(err, p.closeLocked())
	}
	return err
}

func (p *page) openLocked() error {
	if err := os.MkdirAll(filepath.Dir(p.path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(p.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	p.file, p.size = file, info.Size()
	p.open.Add(1)
	return nil
}

func (p *page) turnLocked() error {
	if err := p.closeLocked(); err != nil {
		return err
	}
	if err := os.Rename(p.path, p.path+".1"); err != nil {
		return err
	}
	return p.openLocked()
}

func (p *page) closeLocked() error {
	if p.file == nil {
		return nil
	}
	err := p.file.Close()
	p.file = nil
	p.open.Add(-1)
	return err
}

// tailLocked skips what is no whole line: a killed server may have left half of one.
func (p *page) tailLocked(n int) ([]Line, error) {
	var raw [][]byte
	for _, path := range []string{p.path + ".1", p.path} {
		content, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		raw = append(raw, bytes.Split(content, []byte{'\n'})...)
	}
	var lines []Line
	for i := len(raw) - 1; i >= 0 && len(lines) < n; i-- {
		var l Line
		if json.Unmarshal(raw[i], &l) == nil {
			lines = append(lines, l)
		}
	}
	slices.Reverse(lines)
	return lines, nil
}
