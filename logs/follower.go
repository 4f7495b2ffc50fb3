package logs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// How far a Follower may lag behind before lines are left out, and how many there may be of one API.
const (
	followerLines = 1024
	followerBytes = 1 << 20
	mostFollowers = 32
)

// ErrBusy says that an API is followed by too many.
var ErrBusy = errors.New("too many follow this log")

// matchShare is the part of the time that a Follower may spend on matching its pattern, one in so many.
const matchShare = 10

// Follower receives an API's new lines, as far as its filter chooses them. Next is for one goroutine, Close for any.
type Follower struct {
	page   *page
	filter Filter
	wake   chan struct{} // holds one when there is something to receive

	mu     sync.Mutex // may be taken inside the page's
	queue  []Line
	bytes  int
	lost   int
	closed bool

	matching time.Duration // spent, and not yet made up for
}

// followLocked makes a follower of the page.
func (p *page) followLocked(f Filter) (*Follower, error) {
	if len(p.followers) >= mostFollowers {
		return nil, fmt.Errorf("%w: at most %d at a time", ErrBusy, mostFollowers)
	}
	follower := &Follower{page: p, filter: f, wake: make(chan struct{}, 1)}
	if p.removed {
		follower.end()
	} else {
		p.followers[follower] = struct{}{}
	}
	return follower, nil
}

// Next waits for the next line. It is false when the Follower is closed, the API is removed, the Book is closed or ctx has
// ended. A reader who is too slow finds a line of stream "server" in the place of those left out.
func (f *Follower) Next(ctx context.Context) (Line, bool) {
	for {
		l, ok, over := f.take()
		switch {
		case over:
			return Line{}, false
		case ok && l.Stream == Server, ok && f.match(ctx, l):
			return l, ctx.Err() == nil
		case ok:
			continue
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return Line{}, false
		}
	}
}

// match is Filter.Match. Who follows with a pattern pays for the time that it takes, by waiting.
func (f *Follower) match(ctx context.Context, l Line) bool {
	if !f.filter.matchFields(l) {
		return false
	}
	if f.filter.Pattern == nil {
		return true
	}
	began := time.Now()
	matches := f.filter.Pattern.MatchString(l.Text)
	if f.matching += time.Since(began); f.matching > 10*time.Millisecond {
		pause := time.NewTimer((matchShare - 1) * f.matching)
		defer pause.Stop()
		f.matching = 0
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
	return matches
}

// take returns the first of the queue. What was queued before the end is received.
func (f *Follower) take() (l Line, ok, over bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) > 0 {
		l = f.queue[0]
		f.queue[0] = Line{}
		f.queue = f.queue[1:]
		f.bytes -= len(l.Text)
		return l, true, false
	}
	return Line{}, false, f.closed
}

// Close ends it; closing again does nothing.
func (f *Follower) Close() {
	f.page.mu.Lock()
	delete(f.page.followers, f)
	if len(f.page.followers) == 0 {
		f.page.closeTailsLocked()
	}
	f.page.mu.Unlock()
	f.end()
}

func (f *Follower) end() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.kick()
}

func (f *Follower) kick() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// send queues a line where there is room.
func (f *Follower) send(l Line) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	if len(f.queue) >= followerLines || f.bytes+len(l.Text) > followerBytes {
		f.lost++
		return
	}
	if f.lost > 0 {
		f.queue = append(f.queue, Line{
			Time: time.Now().UTC(), Stream: Server, Level: "warning", Event: "lines_left_out",
			Text: fmt.Sprintf("%d lines are left out here", f.lost),
		})
		f.lost = 0
	}
	f.queue = append(f.queue, l)
	f.bytes += len(l.Text)
	f.kick()
}
