// Package logs keeps what the programs print and what happens to them: for each API the newest few megabytes, in two files of
// JSON lines that take turns. Whoever follows an API gets every line that is appended after the ones that were there.
//
// What is kept is untrusted text. Each line is bounded and is valid UTF-8, but may hold anything that a terminal obeys.
package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	textBytes = 16 << 10 // of one line's text
	openFiles = 256      // kept open between lines, over all APIs; others are opened for each line

	suffix = ".jsonl"
	older  = ".1" // of the file whose turn is over

	rewritten = ".new" // of either, while it is shortened
)

// Config is how a Book behaves.
type Config struct {
	Dir string // nobody else writes to it, see Share
	// Limits hold for every API; a zero field means DefaultLimits'.
	Limits Limits
	// Of returns an API's own limits, of which those count that are tighter; nil: none has any. It must honour its context.
	Of func(ctx context.Context, api string) (Limits, error)
	// Now is the time by which files are old; nil: time.Now. Lines that are shown are so by the machine's clock.
	Now func() time.Time
}

// Book holds the logs of all APIs. It may be used concurrently. Close it, and whatever is used of it is not used after that.
type Book struct {
	cfg       Config
	open      atomic.Int64  // files open
	searching chan struct{} // holds one for each search without a pattern
	matching  chan struct{} // holds one for each search with one
	notices   notices
	keeper    keeper
	sharing   sharing

	mu    sync.Mutex
	pages map[string]*page
}

// New returns a Book. It does no I/O; the directory is made when the first line comes.
func New(cfg Config) *Book {
	cfg.Limits = cfg.Limits.or(DefaultLimits)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	b := &Book{cfg: cfg, pages: map[string]*page{}, searching: make(chan struct{}, searches), matching: make(chan struct{}, searches)}
	b.notices.book, b.notices.seen = b, map[noticeKey]*notice{}
	b.keeper = newKeeper(b)
	return b
}

// page is one API's log. Its lock may be taken inside the Book's, never around it.
type page struct {
	path string
	open *atomic.Int64
	now  func() time.Time // as of Config

	mu        sync.Mutex
	limits    Limits
	file      *os.File // nil: not open
	size      int64
	began     time.Time // when its first line was written
	followers map[*Follower]struct{}
	shared    bool    // another process writes here too
	tails     []*tail // what is read on for those who follow, where it is shared
	removed   bool    // nothing is written any more: whoever found it before has come too late
}

// Append adds a line. Text beyond 16 KiB is cut.
func (b *Book) Append(api string, l Line) error {
	if len(l.Text) > textBytes {
		l.Text = l.Text[:textBytes] + " [cut]"
	}
	l.Text = strings.ToValidUTF8(l.Text, "\uFFFD")
	l.Time = l.Time.UTC()
	var raw bytes.Buffer
	encoder := json.NewEncoder(&raw)
	encoder.SetEscapeHTML(false) // it is no page, and of one that a program prints six times as much would be written
	if err := encoder.Encode(l); err != nil {
		return fmt.Errorf("encode a log line of %s: %w", api, err)
	}
	p, err := b.page(api)
	if err != nil {
		return err
	}
	return p.append(raw.Bytes(), l)
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
	b.notices.forget(api)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removed = true
	errs := []error{p.closeLocked()}
	p.dismissLocked()
	for _, path := range []string{p.path, p.path + older, p.path + rewritten, p.path + older + rewritten} {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the log of %s: %w", api, err)
	}
	return nil
}

// Close stops the Book, closes the files and ends all followers.
func (b *Book) Close() error {
	b.Stop()
	b.notices.flush(time.Now(), true)
	b.Own()
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, p := range b.pages {
		p.mu.Lock()
		errs = append(errs, p.closeLocked())
		p.dismissLocked()
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
	p := &page{
		path: filepath.Join(b.cfg.Dir, api+suffix), open: &b.open, now: b.cfg.Now, limits: b.cfg.Limits, followers: map[*Follower]struct{}{},
		shared: b.sharing.on,
	}
	b.pages[api] = p
	b.keeper.ask(api)
	return p, nil
}

func (p *page) append(raw []byte, l Line) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.removed {
		return nil
	}
	err := p.writeLocked(raw)
	if p.shared && err == nil {
		p.readOnLocked()
		return nil
	}
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
	if p.size > 0 && (p.size+int64(len(raw)) > p.limits.fileSize() || p.now().Sub(p.began) > p.limits.Age) {
		if err := p.turnLocked(); err != nil {
			return fmt.Errorf("turn the log %s: %w", filepath.Base(p.path), err)
		}
	}
	n, err := p.file.Write(raw)
	p.size += int64(n)
	if err != nil || p.open.Load() > openFiles { // after half a line the file is opened anew, which ends it
		err = errors.Join(err, p.closeLocked())
	}
	return err
}

func (p *page) openLocked() error {
	if err := os.MkdirAll(filepath.Dir(p.path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(p.path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	var size int64
	if err == nil {
		size, err = endLine(file, info.Size())
	}
	if err != nil {
		file.Close()
		return err
	}
	p.file, p.size = file, size
	p.open.Add(1)
	if p.began.IsZero() || p.size == 0 {
		p.began = beginning(file, info)
	}
	return nil
}

// endLine ends the half of a line that a killed server or a full disk left, so that the next one is not lost with it. It returns
// the file's size.
func endLine(file *os.File, size int64) (int64, error) {
	if size == 0 {
		return 0, nil
	}
	last := make([]byte, 1)
	if _, err := file.ReadAt(last, size-1); err != nil || last[0] == '\n' {
		return size, err
	}
	n, err := file.Write([]byte("\n"))
	return size + int64(n), err
}

// beginning is when the first line of a file was written, as far as it can be told.
func beginning(file *os.File, info fs.FileInfo) time.Time {
	if info.Size() == 0 {
		return time.Now()
	}
	var first Line
	if json.NewDecoder(file).Decode(&first) == nil && !first.Time.IsZero() {
		return first.Time
	}
	return info.ModTime()
}

func (p *page) turnLocked() error {
	turned := p.turnedLocked()
	if err := p.closeLocked(); err != nil {
		return err
	}
	if !turned {
		if err := os.Rename(p.path, p.path+older); err != nil {
			return err
		}
	}
	p.began = time.Time{}
	return p.openLocked()
}

// turnedLocked reports whether another server, which this one takes over from or is taken over by, has turned the open file: once more
// would throw away what is in it.
func (p *page) turnedLocked() bool {
	mine, err := p.file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(p.path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, there)
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

// dismissLocked ends the followers.
func (p *page) dismissLocked() {
	for f := range p.followers {
		delete(p.followers, f)
		f.end()
	}
	p.closeTailsLocked()
}
