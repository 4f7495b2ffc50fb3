package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	sharedLook = 250 * time.Millisecond // between looks for what another process wrote
	mostTails  = 4                      // files of one API that are read on: each turn makes another
	tailBytes  = 64 << 10               // read at once
	longest    = 8 * textBytes          // of a line as it is written
)

// sharing looks for what another process writes; the zero value is not begun.
type sharing struct {
	on   bool // guarded by the Book's mutex
	stop chan struct{}
	work sync.WaitGroup
}

// tail is a file that is read as it grows.
type tail struct {
	file *os.File
	at   int64
}

// Share says that another process writes to the same logs: those who follow get its lines too, from the files, until Own or Close.
// It is called once, before anybody follows.
func (b *Book) Share() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sharing.on, b.sharing.stop = true, make(chan struct{})
	for _, p := range b.pages {
		p.setShared(true)
	}
	b.sharing.work.Go(func() {
		tick := time.NewTicker(sharedLook)
		defer tick.Stop()
		for {
			select {
			case <-b.sharing.stop:
				return
			case <-tick.C:
			}
			for _, p := range b.all() {
				p.mu.Lock()
				p.readOnLocked()
				p.mu.Unlock()
			}
		}
	})
}

// Own says that the other process has ended. It does nothing where there is none.
func (b *Book) Own() {
	b.mu.Lock()
	on := b.sharing.on
	b.sharing.on = false
	b.mu.Unlock()
	if !on {
		return
	}
	close(b.sharing.stop)
	b.sharing.work.Wait()
	for _, p := range b.all() {
		p.setShared(false)
	}
}

func (b *Book) all() []*page {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*page, 0, len(b.pages))
	for _, p := range b.pages {
		all = append(all, p)
	}
	return all
}

func (p *page) setShared(shared bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readOnLocked()
	p.closeTailsLocked()
	p.shared = shared
}

// beginTailsLocked has what comes after a snapshot read on for the first who follows.
func (p *page) beginTailsLocked(s *snapshot) {
	if !p.shared || p.removed || len(p.tails) > 0 {
		return
	}
	for i, file := range slices.Backward(s.files) {
		fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			p.tails = append(p.tails, &tail{os.NewFile(uintptr(fd), file.Name()), s.sizes[i]})
		}
	}
}

// readOnLocked gives those who follow what was written since, by whichever process.
func (p *page) readOnLocked() {
	if !p.shared || p.removed || len(p.followers) == 0 {
		return
	}
	p.findTurnedLocked()
	for _, t := range p.tails {
		t.read(func(raw []byte) {
			var l Line
			if json.Unmarshal(raw, &l) != nil { // the half of one
				return
			}
			for f := range p.followers {
				f.send(l)
			}
		})
	}
}

// findTurnedLocked adds the file that either process has begun.
func (p *page) findTurnedLocked() {
	there, err := os.Stat(p.path)
	if err != nil {
		return
	}
	for _, t := range p.tails {
		if mine, err := t.file.Stat(); err == nil && os.SameFile(mine, there) {
			return
		}
	}
	file, err := os.Open(p.path)
	if err != nil {
		return
	}
	p.tails = append(p.tails, &tail{file: file})
	if len(p.tails) > mostTails {
		_ = p.tails[0].file.Close()
		p.tails = p.tails[1:]
	}
}

func (p *page) closeTailsLocked() {
	for _, t := range p.tails {
		_ = t.file.Close()
	}
	p.tails = nil
}

// read calls each with the whole lines that are new.
func (t *tail) read(each func(raw []byte)) {
	buffer := make([]byte, tailBytes)
	for {
		n, err := t.file.ReadAt(buffer, t.at)
		if err != nil && !errors.Is(err, io.EOF) {
			return
		}
		rest := buffer[:n]
		for {
			line, after, whole := bytes.Cut(rest, []byte("\n"))
			if !whole {
				break
			}
			each(line)
			t.at += int64(len(line)) + 1
			rest = after
		}
		switch {
		case n < len(buffer):
			return
		case len(rest) < n: // the next read begins with the part of a line
		case n >= longest: // no line of ours
			t.at += int64(n)
		default:
			buffer = make([]byte, longest)
		}
	}
}
