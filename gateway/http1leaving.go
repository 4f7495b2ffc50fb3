package gateway

import (
	"sync"
	"time"
)

// lookAfter is how long a request is under way before somebody looks whether its consumer is there still. Nearly every
// request is answered before, and costs no goroutine and no read.
const lookAfter = 20 * time.Millisecond

// leaving cancels a request whose consumer leaves.
type leaving struct {
	conn *http1

	mu      sync.Mutex
	ended   sync.Cond
	timer   *time.Timer
	w       *http1Response // nil: no request is under way
	looking bool
	looked  bool // for this request: there is nothing more to be seen, and no buffer
}

func (l *leaving) begin(w *http1Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w, l.looked = w, false
	if l.timer == nil {
		l.ended.L = &l.mu
		l.timer = time.AfterFunc(lookAfter, l.look)
		return
	}
	l.timer.Reset(lookAfter)
}

// look waits for the next byte of the connection, or its end. While a body comes, whoever reads that sees the end. It may be called more
// than once for a request: a timer that fired for the one before cannot be stopped any more.
func (l *leaving) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.w
	switch {
	case w == nil || l.looking || l.looked:
		return
	case !w.body.ended():
		l.timer.Reset(lookAfter)
		return
	}
	l.looking = true
	l.mu.Unlock()
	err := l.conn.awaitMore()
	l.mu.Lock()
	l.looking, l.looked = false, true
	if err != nil && l.w == w && l.conn.conn.stopped() == "" {
		w.cancel()
	}
	l.ended.Broadcast()
}

// cancel cancels the request that is under way, if there is one.
func (l *leaving) cancel() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w != nil {
		l.w.cancel()
	}
}

// stop ends looking. Nobody reads from the connection when it has returned, and it has a buffer.
func (l *leaving) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.conn.takeBuffer()
	l.w = nil
	l.timer.Stop()
	if !l.looking {
		return
	}
	_ = l.conn.conn.SetReadDeadline(time.Unix(1, 0))
	for l.looking {
		l.ended.Wait()
	}
	_ = l.conn.conn.SetReadDeadline(time.Time{})
}
