package gateway

import (
	"sync"
	"time"
)

// lookAfter is how long a request is under way before somebody looks whether its consumer is there still. Nearly every
// request is answered before, and costs no goroutine and no read.
const lookAfter = 20 * time.Millisecond

// lookRarely is how often is looked at most rarely at a consumer whose body nobody reads.
const lookRarely = 250 * time.Millisecond

// leaving cancels a request whose consumer leaves.
type leaving struct {
	conn *http1

	mu      sync.Mutex
	ended   sync.Cond
	timer   *time.Timer
	w       *http1Response // nil: no request is under way
	looking bool
	looked  bool          // for this request: it is known what follows it, and there is no buffer
	reads   uint32        // of the body, at the last look
	pause   time.Duration // before the next look
}

func (l *leaving) begin(w *http1Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w, l.looked, l.reads, l.pause = w, false, 0, lookAfter
	if l.timer == nil {
		l.ended.L = &l.mu
		l.timer = time.AfterFunc(lookAfter, l.look)
		return
	}
	l.timer.Reset(lookAfter)
}

// look waits for the next byte of the connection, or its end. While a body is read, whoever reads it sees the end; while nobody reads it,
// because the request waits or the program does, and once there is another request, the socket is asked. It may be called more than once for a
// request: a timer that fired for the one before cannot be stopped any more.
func (l *leaving) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.w
	switch {
	case w == nil || l.looking:
		return
	case l.looked || !w.body.ended():
		l.lookAtUnreadLocked(w)
		return
	}
	l.looking = true
	l.mu.Unlock()
	err := l.conn.awaitMore()
	l.mu.Lock()
	l.looking, l.looked = false, true
	switch {
	case l.w != w:
	case err == nil:
		l.timer.Reset(l.pause)
	case l.conn.conn.stopped() == "":
		w.cancel()
	}
	l.ended.Broadcast()
}

// lookAtUnreadLocked looks, without reading, at a connection that has sent more than was read: a body, or another request.
func (l *leaving) lookAtUnreadLocked(w *http1Response) {
	reads := w.body.reads.Load()
	switch {
	case reads != l.reads:
		l.reads, l.pause = reads, lookAfter
	case l.conn.conn.hungUp():
		w.cancel()
		return
	default:
		l.pause = min(2*l.pause, lookRarely)
	}
	l.timer.Reset(l.pause)
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
