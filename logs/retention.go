package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Limits bound what is kept of one API. A zero field of an API's own means the Book's.
type Limits struct {
	Size int64         // bytes on disk
	Age  time.Duration // of lines that are shown; twice as old ones may still be on disk
}

// DefaultLimits hold where nobody has set others, LeastSize and LeastAge are the tightest.
var (
	DefaultLimits = Limits{Size: 8 << 20, Age: 30 * 24 * time.Hour}
	LeastSize     = int64(64 << 10)
	LeastAge      = time.Minute
)

func (l Limits) or(d Limits) Limits {
	if l.Size == 0 {
		l.Size = d.Size
	}
	if l.Age == 0 {
		l.Age = d.Age
	}
	return l
}

// within returns the tighter ones of l and most.
func (l Limits) within(most Limits) Limits {
	l = l.or(most)
	l.Size, l.Age = max(min(l.Size, most.Size), LeastSize), max(min(l.Age, most.Age), LeastAge)
	return l
}

func (l Limits) fileSize() int64 { return l.Size / 2 }

func (p *page) oldest() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Add(-p.limits.Age)
}

// setLimits has limits hold at once: what is beyond them is gone when it returns, unless another process writes here too. That goes on in the
// file that it has open.
func (p *page) setLimits(l Limits) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits = l
	if p.shared {
		return nil
	}
	return p.shortenLocked(p.path+older, p.path)
}

// shortenLocked leaves the last lines of the page's files.
func (p *page) shortenLocked(paths ...string) error {
	if err := p.closeLocked(); err != nil {
		return err
	}
	p.began = time.Time{}
	var errs []error
	for _, path := range paths {
		errs = append(errs, shorten(path, p.limits.fileSize()))
	}
	return errors.Join(errs...)
}

// shorten leaves the last lines of a file that fit into most bytes.
func shorten(path string, most int64) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() <= most {
		return err
	}
	if _, err := file.Seek(-most, io.SeekEnd); err != nil {
		return err
	}
	rest := bufio.NewReader(file)
	if _, err := rest.ReadSlice('\n'); err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		return err
	}
	aside := path + rewritten
	out, err := os.OpenFile(aside, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, rest)
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(aside, path)
	}
	if err != nil {
		_ = os.Remove(aside)
	}
	return err
}

const (
	sweepEvery = time.Hour
	askTimeout = 10 * time.Second
)

// keeper finds out about APIs' own limits, removes what is too old, and tells what notices left out.
type keeper struct {
	book    *Book
	life    context.Context
	end     context.CancelFunc
	done    sync.WaitGroup
	wake    chan struct{}
	failing bool // nobody knows APIs' own limits at the moment; owned by run

	mu    sync.Mutex
	asked map[string]struct{} // APIs whose limits are to be read
}

func newKeeper(b *Book) keeper {
	life, end := context.WithCancel(context.Background())
	return keeper{book: b, life: life, end: end, wake: make(chan struct{}, 1), asked: map[string]struct{}{}}
}

// Start begins to look after the age of lines, in the background, and after APIs' own limits. told hears what goes wrong.
func (b *Book) Start(told func(error)) {
	b.keeper.done.Go(func() { b.keeper.run(told) })
}

// Stop ends what Start began. Lines are kept as before. It may be called again, and without a Start.
func (b *Book) Stop() { b.keeper.stop() }

// Changed says that an API's own limits may have changed. It returns at once.
func (b *Book) Changed(api string) {
	b.mu.Lock()
	_, known := b.pages[api]
	b.mu.Unlock()
	if known {
		b.keeper.ask(api)
	}
}

func (k *keeper) ask(api string) {
	if k.book.cfg.Of == nil {
		return
	}
	k.mu.Lock()
	k.asked[api] = struct{}{}
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) stop() {
	k.end()
	k.done.Wait()
}

func (k *keeper) run(told func(error)) {
	sweep, flush := time.NewTicker(sweepEvery), time.NewTicker(noticePause)
	defer sweep.Stop()
	defer flush.Stop()
	k.sweep(told)
	for {
		select {
		case <-k.life.Done():
			return
		case now := <-flush.C:
			k.book.notices.flush(now, false)
			k.answer(told) // what could not be had before
		case <-sweep.C:
			k.sweep(told)
		case <-k.wake:
			k.answer(told)
		}
	}
}

// answer reads the limits of those APIs that were asked for. Until they are known the Book's hold, which keep more. When one cannot be had
// the others wait too, because so it will be with them, and told hears of the first.
func (k *keeper) answer(told func(error)) {
	k.mu.Lock()
	asked := k.asked
	k.asked = map[string]struct{}{}
	k.mu.Unlock()
	for api := range asked {
		limits, err := k.limits(api)
		if err != nil {
			if !k.failing && k.life.Err() == nil {
				told(fmt.Errorf("find the limits of the log of %s: %w", api, err))
			}
			k.failing = true
			k.mu.Lock()
			maps.Copy(k.asked, asked)
			k.mu.Unlock()
			return
		}
		k.failing = false
		delete(asked, api)
		if err := k.adjust(api, limits); err != nil {
			told(fmt.Errorf("shorten the log of %s: %w", api, err))
		}
	}
}

// limits are those of an API, within the Book's.
func (k *keeper) limits(api string) (Limits, error) {
	ctx, cancel := context.WithTimeout(k.life, askTimeout)
	defer cancel()
	own, err := k.book.cfg.Of(ctx, api)
	return own.within(k.book.cfg.Limits), err
}

func (k *keeper) adjust(api string, limits Limits) error {
	k.book.mu.Lock()
	p := k.book.pages[api]
	k.book.mu.Unlock()
	if p == nil {
		return nil
	}
	p.mu.Lock()
	same := p.limits == limits
	p.mu.Unlock()
	if same {
		return nil
	}
	return p.setLimits(limits)
}

// sweep removes files whose last line is too old, and shortens those that were written when there was room for more. Those of APIs whose limits
// are not known are asked for first.
func (k *keeper) sweep(told func(error)) {
	entries, err := os.ReadDir(k.book.cfg.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		told(fmt.Errorf("look for old logs: %w", err))
	}
	for _, entry := range entries {
		name, left := strings.CutSuffix(entry.Name(), rewritten)
		api, ok := strings.CutSuffix(strings.TrimSuffix(name, older), suffix)
		if !ok || k.life.Err() != nil {
			continue
		}
		p, err := k.book.page(api)
		if err == nil {
			err = p.sweep(filepath.Join(k.book.cfg.Dir, entry.Name()), left)
		}
		if err != nil {
			told(fmt.Errorf("look after the log of %s: %w", api, err))
		}
	}
	k.answer(told)
}

// sweep removes one of the page's files when nobody has written to it for the age of lines, or when a killed server left it half
// rewritten, and else shortens it to its size. What another process may have open stays as it is.
func (p *page) sweep(path string, left bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	info, err := os.Stat(path)
	if p.shared || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	switch {
	case err != nil:
		return err
	case left:
		return os.Remove(path)
	case p.now().Sub(info.ModTime()) > p.limits.Age:
		if path == p.path {
			err = p.closeLocked()
		}
		return errors.Join(err, os.Remove(path))
	case info.Size() > max(p.limits.fileSize(), longest): // a line may be longer than the file is to be
		return p.shortenLocked(path)
	}
	return nil
}
