package logs

import (
	"fmt"
	"sync"
	"time"
)

// What the platform tells may come in floods: a limit that every request hits. Of each API and event a few lines are told at
// once, then as many as fit into a slow rate; the others are counted, and the count is told from time to time.
const (
	noticeBurst = 10
	noticePause = 10 * time.Second // one line, and one count, in so long a time
	noticeMost  = 100_000          // APIs and events that are remembered; more are not told
)

type noticeKey struct{ api, event string }

type notice struct {
	credit float64
	last   time.Time // when credit was counted
	left   int       // lines that were left out
	line   Line      // the last of them
}

type notices struct {
	book *Book
	mu   sync.Mutex
	seen map[noticeKey]*notice
}

// Tell adds a line of the platform's, unless the same Event has been told of the API too often of late: then it is counted.
// Its time is now when it has none.
func (b *Book) Tell(api string, l Line) error {
	now := time.Now()
	if l.Time.IsZero() {
		l.Time = now.UTC()
	}
	if !b.notices.admit(api, l, now) {
		return nil
	}
	return b.Append(api, l)
}

func (n *notices) admit(api string, l Line, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := noticeKey{api, l.Event}
	of := n.seen[key]
	if of == nil {
		if len(n.seen) >= noticeMost {
			return false
		}
		of = &notice{credit: noticeBurst, last: now}
		n.seen[key] = of
	}
	of.credit = min(noticeBurst, of.credit+now.Sub(of.last).Seconds()/noticePause.Seconds())
	of.last = now
	if of.credit < 1 {
		of.left++
		of.line = l
		return false
	}
	of.credit--
	return true
}

// flush tells what was left out, and forgets those of which nothing was told for a while. last: all of it goes.
func (n *notices) flush(now time.Time, last bool) {
	type told struct {
		api  string
		line Line
	}
	var all []told
	n.mu.Lock()
	for key, of := range n.seen {
		if of.left > 0 {
			l := of.line
			l.Time, l.Request = now.UTC(), ""
			l.Text = fmt.Sprintf("%s: %d more like this, the last one: %s", key.event, of.left, of.line.Text)
			all = append(all, told{key.api, l})
			of.left, of.line = 0, Line{}
		} else if last || now.Sub(of.last) > noticeBurst*noticePause {
			delete(n.seen, key)
		}
	}
	n.mu.Unlock()
	for _, t := range all {
		_ = n.book.Append(t.api, t.line) // the next line that is lost tells why
	}
}

func (n *notices) forget(api string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key := range n.seen {
		if key.api == api {
			delete(n.seen, key)
		}
	}
}
