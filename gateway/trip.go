package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

var errUnsendable = errors.New("the request cannot be written as HTTP/1.1")

// trip is one request and its response on one connection. The request's body is sent by a goroutine of its own; the
// connection goes back to the pool when both directions have ended well, and is closed at the first thing that did not.
type trip struct {
	c      *programConn
	r      *http.Request
	fields *fieldList  // of the response; its Header is not made for the gateway's own requests
	inform informer    // nil: none
	wants  chan bool   // whether the program wants the body; nil when that is known, or was not asked
	life   *lifetime   // of the gateway's own requests; nil: another context
	stop   func() bool // of another context

	mu       sync.Mutex
	parts    int // directions that have not ended
	reusable bool
	tunnel   bool  // the program has switched to another protocol
	over     bool  // nobody has anything of it any more, but whoever has the response
	bodyErr  error // of reading the request's body

	res   http.Response
	body  programBody // of the response, where it has one
	sized sizedReader
}

func newTrip(c *programConn, r *http.Request) *trip {
	var t *trip
	own := tripOf(r.Context())
	if own != nil && own.room != nil {
		t, own.room = own.room, nil
	} else {
		t = new(trip)
	}
	t.c, t.r, t.parts, t.reusable = c, r, 1, true
	if own != nil {
		t.fields, t.inform = own.fields, own.inform
	} else {
		t.fields = new(fieldList)
	}
	if r.Body != nil {
		t.parts = 2
		if strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
			t.wants = make(chan bool, 1)
		}
	}
	return t
}

// run sends the request and reads the head of the response.
func (t *trip) run() (*http.Response, error) {
	scratch := heads.Get().(*[]byte)
	defer heads.Put(scratch)
	head, err := appendRequestHead((*scratch)[:0], t.r)
	if cap(head) <= mostScratch {
		*scratch = head[:0]
	}
	if err != nil {
		_ = t.c.conn.Close()
		return nil, err
	}
	t.arm()
	if t.r.Body == nil {
		err = t.c.exchange(head)
	} else {
		_, err = t.c.conn.Write(head)
	}
	if errors.Is(err, errSpoke) {
		t.unarm()
		_ = t.c.conn.Close()
		return nil, err
	}
	if err != nil {
		t.notReusable() // there may be an answer all the same
	}
	if t.r.Body != nil {
		go t.send(err == nil, t.wants)
	}
	res, err := t.receive(scratch)
	if err != nil {
		t.fail()
		t.unarm()
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.bodyErr != nil {
			err = fmt.Errorf("%w: %w", t.bodyErr, err)
		}
		return nil, err
	}
	return res, nil
}

// arm has the end of the request's context end the trip.
func (t *trip) arm() {
	if c, ok := t.r.Context().(*tripContext); ok {
		t.life = c.lifetime
		t.life.tell(t)
		return
	}
	t.stop = context.AfterFunc(t.r.Context(), t.fail)
}

// unarm reports whether the context has not ended, and need not be watched any more.
func (t *trip) unarm() bool {
	if t.life != nil {
		return t.life.untell(t)
	}
	return t.stop()
}

// receive reads heads until one is final.
func (t *trip) receive(scratch *[]byte) (*http.Response, error) {
	for first := true; ; first = false {
		res := &t.res
		if err := readResponseHead(t.c.r, scratch, res, t.fields); err != nil {
			if !first && errors.Is(err, errNoAnswer) { // which would have the request sent again, and told of again
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		final := res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols
		if asker, ok := t.r.Body.(asker); ok && res.StatusCode == http.StatusContinue {
			asker.ask()
		}
		if t.wants != nil && (final || res.StatusCode == http.StatusContinue) {
			t.wants <- !final
			t.wants = nil
		}
		if final {
			res.Request = t.r
			if err := t.frame(res); err != nil {
				return nil, err
			}
			if tripOf(t.r.Context()) == nil {
				res.Header = make(http.Header)
				t.fields.addTo(res.Header)
			}
			t.fields = nil // they are another answer's before this one's body ends
			return res, nil
		}
		if t.inform != nil {
			if err := t.inform.inform(res.StatusCode); err != nil {
				return nil, err
			}
		}
	}
}

// send sends the request's body, piece by piece as it comes.
func (t *trip) send(writable bool, wants <-chan bool) {
	defer t.r.Body.Close()
	if wants != nil && writable {
		writable = t.wanted(wants)
	}
	if !writable {
		t.notReusable()
		t.done()
		return
	}
	err := t.copyBody()
	switch {
	case err == nil:
	case t.bodyErrOf() != nil:
		t.fail() // the rest of the request will never come: the program must not wait for it
	default:
		t.notReusable() // the program reads no more, but may answer
	}
	t.done()
}

// wanted waits for the program's word on the body.
func (t *trip) wanted(word <-chan bool) bool {
	timer := time.NewTimer(continueWait)
	defer timer.Stop()
	select {
	case yes := <-word:
		return yes
	case <-timer.C:
		return true
	case <-t.r.Context().Done():
		return false
	}
}

// copyBody sends the body. It answers for whoever makes the body, who is not to end the process: nobody above would catch a panic.
func (t *trip) copyBody() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = t.bodyFailed(fmt.Errorf("%w: %v\n%s", errPanic, p, debug.Stack()))
		}
	}()
	chunked, left := t.r.ContentLength < 0, t.r.ContentLength
	buffer := newPieceBuffer()
	defer buffer.free()
	for {
		n, err := buffer.readFrom(t.r.Body)
		if left -= int64(n); !chunked && left < 0 { // the program would take it for another request
			return t.bodyFailed(errUnsendable)
		}
		if n > 0 {
			piece := buffer.large[pieceRoom : pieceRoom+n]
			if chunked { // which is written with one call
				piece = frameChunk(buffer.large[:], pieceRoom, n)
			}
			if _, err := t.c.conn.Write(piece); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return t.endBody(chunked)
		case err != nil:
			return t.bodyFailed(err)
		}
	}
}

func (t *trip) bodyFailed(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bodyErr = err
	return err
}

// frameChunk writes the size before and the line end after n bytes at buffer[at:], and returns the whole chunk.
func frameChunk(buffer []byte, at, n int) []byte {
	size := fmt.Appendf(make([]byte, 0, 16), "%x\r\n", n)
	start := at - len(size)
	copy(buffer[start:], size)
	copy(buffer[at+n:], "\r\n")
	return buffer[start : at+n+2]
}

func (t *trip) endBody(chunked bool) error {
	if !chunked {
		return nil
	}
	end := []byte("0\r\n")
	for name, values := range t.r.Trailer {
		for _, value := range values {
			var err error
			if end, err = appendField(end, name, value); err != nil {
				return err
			}
		}
	}
	_, err := t.c.conn.Write(append(end, "\r\n"...))
	return err
}

func (t *trip) bodyErrOf() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bodyErr
}

func (t *trip) notReusable() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reusable = false
}

// done says that one direction has ended. The last one decides what becomes of the connection.
func (t *trip) done() {
	t.mu.Lock()
	t.parts--
	last, reusable := t.parts == 0, t.reusable
	t.mu.Unlock()
	if !last {
		return
	}
	if t.unarm() && reusable {
		t.over = t.r.Body == nil
		t.c.pool.put(t.c)
		return
	}
	_ = t.c.conn.Close()
}

// fail ends both directions. It may be called more than once, and concurrently.
func (t *trip) fail() {
	t.mu.Lock()
	t.reusable = false
	tunnel := t.tunnel
	t.mu.Unlock()
	if own := tripOf(t.r.Context()); own != nil && own.parting != nil && !tunnel {
		own.parting.keep(t.c.raw)
	}
	_ = t.c.conn.Close()
}
