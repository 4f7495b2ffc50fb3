package logs

import (
	"fmt"
	"time"
)

// followerLines is how far a Follower may lag behind before lines are left out.
const followerLines = 1024

// Follower receives an API's new lines.
type Follower struct {
	page  *page
	lines chan Line
	lost  int // guarded by page.mu
}

// Lines ends when the Follower is closed, the API is removed or the Book is closed. A reader who is too slow finds a line
// of stream "server" in the place of those left out.
func (f *Follower) Lines() <-chan Line { return f.lines }

// Close ends it; closing again does nothing.
func (f *Follower) Close() {
	f.page.mu.Lock()
	defer f.page.mu.Unlock()
	f.page.dropLocked(f)
}

// send is called with the page locked.
func (f *Follower) send(l Line) {
	if f.lost > 0 {
		note := Line{Time: time.Now().UTC(), Stream: "server", Text: fmt.Sprintf("%d lines are left out here", f.lost)}
		select {
		case f.lines <- note:
			f.lost = 0
		default:
		}
	}
	select {
	case f.lines <- l:
	default:
		f.lost++
	}
}

func (p *page) dropLocked(f *Follower) {
	if _, ok := p.followers[f]; ok {
		delete(p.followers, f)
		close(f.lines)
	}
}
