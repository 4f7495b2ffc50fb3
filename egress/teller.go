package egress

import (
	"fmt"
	"sync"
	"time"
)

// teller passes lines on to an author: the first dozen at once, then one a second, with the number of those left out. Its
// methods may be called concurrently.
type teller struct {
	report func(string)

	mu      sync.Mutex
	credit  int
	since   time.Time
	leftOut int
}

const tellBurst = 12

func newTeller(report func(string)) *teller {
	return &teller{report: report, credit: tellBurst, since: time.Now()}
}

func (t *teller) say(line string) {
	if t.report == nil {
		return
	}
	t.mu.Lock()
	now := time.Now()
	if gained := int(now.Sub(t.since) / time.Second); gained > 0 {
		t.credit = min(tellBurst, t.credit+gained)
		t.since = now
	}
	if t.credit == 0 {
		t.leftOut++
		t.mu.Unlock()
		return
	}
	t.credit--
	if t.leftOut > 0 {
		line = fmt.Sprintf("%s (%d more lines about egress were left out before)", line, t.leftOut)
		t.leftOut = 0
	}
	t.mu.Unlock()
	t.report(line)
}
