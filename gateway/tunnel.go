package gateway

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"apibuilder/sandbox"
)

// tunnel joins the consumer's connection and the program's after both have agreed on WebSocket. The first end of either
// side ends both; the usage record counts the bytes each way and is kept before the consumer's connection closes.
func (x *exchange) tunnel(res *http.Response) {
	a := x.answer
	program, ok := res.Body.(io.ReadWriteCloser)
	if !ok || !isUpgrade(x.in) || !strings.EqualFold(a.head.get("Upgrade"), "websocket") {
		a.cause = errBadUpgrade
		a.problem(wordBadResponse)
		return
	}
	if err := x.begin(); err != nil {
		x.broken(err)
		return
	}
	if c := connOf(x.in); c != nil {
		c.free.Store(true)
	}
	conn, switched, err := a.control.Hijack()
	if err != nil {
		a.cause = err
		a.problem(wordInternal)
		return
	}
	defer conn.Close()
	a.status = http.StatusSwitchingProtocols
	bye := &farewell{conn: conn}
	end := sync.OnceFunc(func() {
		_ = program.Close()
		_ = conn.SetDeadline(time.Now())
	})
	forget, ok := x.gateway.traffic.cutWith(func() {
		bye.say(x.gateway.traffic.farewell(), wordDraining)
		end()
	})
	defer forget()
	if !ok || bye.begin(func() error { return writeSwitch(a, switched) }) != nil {
		end()
	}
	x.join(bye, conn, program, end) // what is buffered has done its work, and is not kept
	x.addUse()
	a.record()
	bye.settle(conn)
}

// join copies both ways until one of them ends.
func (x *exchange) join(bye *farewell, consumer io.Reader, program io.ReadWriter, end func()) {
	a := x.answer
	var in, out atomic.Int64
	watch, rest := x.watch, time.Duration(0)
	if x.times.Total > 0 {
		rest = max(x.times.Total-watch.age(), 1)
	}
	watch.stop() // it watches over something else now
	watch.start(x.times.Stream, rest, expireFunc(func(idle time.Duration) time.Duration {
		cause, word := errIdle, wordIdleTimeout
		if idle < x.times.Stream {
			cause, word = errTotalTimeout, wordTotalTimeout
		}
		bye.say(closeGoingAway, word) // while the program is there: its end ends the consumer's connection
		x.life.end(cause)
		end()
		return 0
	}))
	var left atomic.Bool // the consumer ended it
	up := make(chan struct{})
	go func() {
		defer close(up)
		if err := pump(program, consumer, &in, watch); errors.Is(err, errSink) {
			_, _ = io.Copy(io.Discard, consumer) // the program reads no more, but what it has said is still to come
		}
		left.Store(true)
		end()
	}()
	err := pump(bye, program, &out, watch)
	byGateway := x.life.why() != nil || x.gateway.traffic.wasCut()
	if !left.Load() && !byGateway && !errors.Is(err, errSink) && !bye.closed() { // else there is nothing to ask, and nobody to wait
		code, reason, word := x.programLeft()
		bye.say(code, reason)
		a.word = word
	}
	end()
	<-up
	watch.stop()
	a.upload = &upload{} // counts, and has no connection to end
	a.upload.over.Store(true)
	a.upload.whole.Store(true)
	a.upload.count.Store(in.Load())
	a.written = out.Load()
	a.cause = err
	switch {
	case errors.Is(x.life.why(), errIdle):
		a.word = wordIdleTimeout
	case errors.Is(x.life.why(), errTotalTimeout):
		a.word = wordTotalTimeout
	case x.gateway.traffic.wasCut():
		a.word = wordDraining
	}
}

// programLeft says why the program's side of a WebSocket ended, for a consumer whom the program did not tell, and the word for the
// record; none when the sandbox lives.
func (x *exchange) programLeft() (code uint16, reason, word string) {
	switch exit := x.exit(x.gateway.config.ExitWait); {
	case exit == nil:
		return closeInternalError, "the program closed the connection", ""
	case exit.Reason == sandbox.Draining:
		return closeServiceRestart, string(exit.Reason), string(exit.Reason)
	default:
		word = wordOf(exit)
		return closeInternalError, word, word
	}
}

// errSink says that it was the destination of a pump that broke.
var errSink = errors.New("write what was read")

// pump copies from src to dst and counts; nil when src has ended.
func pump(dst io.Writer, src io.Reader, count *atomic.Int64, watch *watchdog) error {
	var buffer copyBuffer
	defer buffer.free()
	for {
		p := buffer.next(src)
		n, err := src.Read(p)
		watch.moved()
		if n > 0 {
			written, err := dst.Write(p[:n])
			count.Add(int64(written))
			if err != nil {
				return errors.Join(errSink, err)
			}
			buffer.filled(n)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

type flusher interface {
	io.Writer
	Flush() error
}

// writeSwitch sends the header with which HTTP ends on the consumer's connection.
func writeSwitch(a *answer, w flusher) error {
	upgrade := a.head.get("Upgrade")
	a.head.pass()
	a.head.remove("Content-Length")
	a.head.set("Connection", "Upgrade")
	a.head.set("Upgrade", upgrade)
	a.stamp()
	text := a.head.appendTo([]byte("HTTP/1.1 101 Switching Protocols\r\n"))
	a.dropHead()
	if _, err := w.Write(append(text, "\r\n"...)); err != nil {
		return err
	}
	return w.Flush()
}
