package gateway

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// admission counts the requests under way and decides which may go on, wait, or are refused.
//
// All of them share Limits.Requests. An API may have as many as are free for everybody: it is refused a further one when it
// has more than are left. So one API that is flooded gets half of them and leaves the other half, two get a third each and
// leave a third, and however many are flooded, one that is not finds room (dynamic thresholds, Choudhury and Hahne,
// IEEE/ACM Transactions on Networking 6(2), 1998). Of an API's requests, APIRequests are with its program; the next ones
// wait in the order of their arrival.
//
// The zero value is ready. Safe for concurrent use.
type admission struct {
	// most says how many requests of an API are with its program at a time now, where that is known; nil: nobody does. It does not wait.
	most func(api string) (most int, known bool)

	mu     sync.Mutex
	inside int
	lines  map[string]*line // of the APIs that have requests
	spare  *line            // of an API that had its last one: it is used again; nil: none
}

// line is what admission knows of one API.
type line struct {
	inside  int // with those that wait
	running int
	most    int            // running at a time; 0: no bound
	keys    map[string]int // requests by key, where that is bounded
	waiting list.List      // of *turn
}

// turn is a request that waits.
type turn struct {
	come  chan struct{} // closed then
	place *list.Element // in the line; nil once it has come
}

// place is what a request holds while it is under way; leave gives it back. The zero place holds nothing.
type place struct {
	admission *admission
	api, key  string
	line      *line
}

// enter takes a place for a request, or returns the word why there is none. It waits in the API's queue at most for wait,
// and while ctx lives: then the error is the context's.
func (a *admission) enter(ctx context.Context, api, key string, l Limits, wait time.Duration) (place, string, error) {
	p, turn, word := a.join(api, key, l)
	if turn == nil {
		return p, word, nil
	}
	timer, look := time.NewTimer(wait), time.NewTicker(boundLook)
	defer timer.Stop()
	defer look.Stop()
	for {
		select {
		case <-turn.come:
			return p, "", nil
		case <-look.C:
			a.lookAgain(api)
			continue
		case <-timer.C:
			word = wordQueueTimeout
		case <-ctx.Done():
		}
		p.giveUp(turn)
		return place{}, word, ctx.Err()
	}
}

// boundLook is how often those who wait look whether their API's bound was raised.
const boundLook = time.Second

func (a *admission) lookAgain(api string) {
	if a.most == nil {
		return
	}
	most, known := a.most(api)
	a.mu.Lock()
	defer a.mu.Unlock()
	if at := a.lines[api]; at != nil && known {
		at.most = most
		at.admitLocked()
	}
}

// join counts a request in. next is not nil when it has to wait until that has come.
func (a *admission) join(api, key string, l Limits) (p place, next *turn, word string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, known := a.lines[api]
	if !known {
		if at = a.spare; at == nil {
			at = &line{}
		}
		a.spare = nil
	}
	switch {
	case l.Requests > 0 && at.inside >= l.Requests-a.inside:
		return place{}, nil, wordOverloaded
	case l.KeyRequests > 0 && key != "" && at.keys[key] >= l.KeyRequests:
		return place{}, nil, wordTooManyAtOnce
	}
	at.most = l.APIRequests
	at.admitLocked() // the bound may have been raised
	mustWait := at.most > 0 && at.running >= at.most
	if mustWait && at.waiting.Len() >= l.Queue {
		return place{}, nil, wordQueueFull
	}
	if l.KeyRequests <= 0 {
		key = ""
	}
	if key != "" {
		if at.keys == nil {
			at.keys = make(map[string]int)
		}
		at.keys[key]++
	}
	if a.lines == nil {
		a.lines = make(map[string]*line)
	}
	if !known {
		a.lines[api] = at
	}
	a.inside++
	at.inside++
	p = place{a, api, key, at}
	if !mustWait {
		at.running++
		return p, nil, ""
	}
	next = &turn{come: make(chan struct{})}
	next.place = at.waiting.PushBack(next)
	return p, next, ""
}

// admitLocked lets those go on that have waited longest, as far as there is room.
func (l *line) admitLocked() {
	for l.waiting.Len() > 0 && (l.most <= 0 || l.running < l.most) {
		first := l.waiting.Remove(l.waiting.Front()).(*turn)
		first.place = nil
		close(first.come)
		l.running++
	}
}

// giveUp takes a request out of the queue, or gives the place back that it got meanwhile.
func (p place) giveUp(t *turn) {
	a := p.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.place != nil {
		p.line.waiting.Remove(t.place)
		p.line.running++ // which leaveLocked takes back
	}
	p.leaveLocked()
}

// leave gives the place back. It is called once.
func (p place) leave() {
	if p.admission == nil {
		return
	}
	p.admission.mu.Lock()
	defer p.admission.mu.Unlock()
	p.leaveLocked()
}

func (p place) leaveLocked() {
	l := p.line
	if p.key != "" {
		if l.keys[p.key]--; l.keys[p.key] == 0 {
			delete(l.keys, p.key)
		}
	}
	p.admission.inside--
	l.inside--
	l.running--
	l.admitLocked()
	if l.inside == 0 {
		delete(p.admission.lines, p.api)
		*l = line{}
		p.admission.spare = l
	}
}
