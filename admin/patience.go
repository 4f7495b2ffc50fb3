package admin

import (
	"net/http"
	"time"
)

// patient gives a client a bounded time for each piece of an answer: whoever does not take it would have it kept in memory, and what
// waits for it waiting, for ever.
type patient struct {
	http.ResponseWriter
	by time.Time // when the rest has to be taken; zero: each piece has a time of its own
}

// patientOf finds it below what is laid over it; nil: there is none.
func patientOf(w http.ResponseWriter) *patient {
	for {
		switch one := w.(type) {
		case *patient:
			return one
		case interface{ Unwrap() http.ResponseWriter }:
			w = one.Unwrap()
		default:
			return nil
		}
	}
}

// within bounds the time for all that is written from here on, until it is called with 0.
func (p *patient) within(d time.Duration) {
	switch {
	case p == nil:
	case d == 0:
		p.by = time.Time{}
	default:
		p.by = time.Now().Add(d)
	}
}

// restTime is for what nobody has read of a request's body: net/http reads it before it sends the answer's end.
const restTime = 10 * time.Second

// end is for the end of the answer, which is written when its handler has returned.
func (p *patient) end(hasBody bool) {
	p.by = time.Time{}
	p.wait(bodyTimeout)
	if hasBody {
		_ = http.NewResponseController(p.ResponseWriter).SetReadDeadline(time.Now().Add(restTime)) // a writer that cannot is a test's
	}
}

// Unwrap is for http.ResponseController.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// Write is as in http.ResponseWriter.
func (p *patient) Write(b []byte) (int, error) {
	p.wait(timeFor(int64(len(b))))
	return p.ResponseWriter.Write(b)
}

// FlushError is for http.ResponseController.
func (p *patient) FlushError() error {
	p.wait(bodyTimeout)
	return http.NewResponseController(p.ResponseWriter).Flush()
}

// wait lets what is written next take so long.
func (p *patient) wait(d time.Duration) {
	by := time.Now().Add(d)
	if !p.by.IsZero() && p.by.Before(by) {
		by = p.by
	}
	_ = http.NewResponseController(p.ResponseWriter).SetWriteDeadline(by) // a writer that cannot is a test's
}
