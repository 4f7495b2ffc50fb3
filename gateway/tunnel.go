package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// tunnel joins the consumer's connection and the program's after both have agreed on WebSocket. The first end of either
// side ends both; the usage record counts the bytes each way and is kept before the consumer's connection closes.
func (x *exchange) tunnel(res *http.Response) {
	a := x.answer
	program, ok := res.Body.(io.ReadWriteCloser)
	if !ok || !isUpgrade(x.in) || !strings.EqualFold(res.Header.Get("Upgrade"), "websocket") {
		a.cause = errBadUpgrade
		a.problem(wordBadResponse)
		return
	}
	if c := connOf(x.in); c != nil {
		c.free.Store(true)
	}
	conn, consumer, err := a.control.Hijack()
	if err != nil {
		a.cause = err
		a.problem(wordInternal)
		return
	}
	defer conn.Close()
	a.status = http.StatusSwitchingProtocols
	end := sync.OnceFunc(func() {
		_ = program.Close()
		_ = conn.SetDeadline(time.Now())
	})
	forget, ok := x.gateway.traffic.cutWith(end)
	defer forget()
	if !ok || writeSwitch(a, consumer, res) != nil {
		end()
	}
	x.join(conn, consumer, program, end)
	a.record()
}

// join copies both ways until one of them ends.
func (x *exchange) join(conn net.Conn, consumer io.Reader, program io.ReadWriter, end func()) {
	a := x.answer
	var in, out atomic.Int64
	x.watch.stop()
	watch, left := &watchdog{}, time.Duration(0)
	if x.times.Total > 0 {
		left = max(x.times.Total-time.Since(x.watch.begin), 1)
	}
	watch.start(x.times.Stream, left, func(idle time.Duration) time.Duration {
		if idle < x.times.Stream {
			x.cancel(errTotalTimeout)
		} else {
			x.cancel(errIdle)
		}
		end()
		return 0
	})
	up := make(chan struct{})
	go func() {
		defer close(up)
		_ = pump(program, consumer, &in, watch)
		end()
	}()
	err := pump(conn, program, &out, watch)
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
	case errors.Is(context.Cause(x.ctx), errIdle):
		a.word = wordIdleTimeout
	case errors.Is(context.Cause(x.ctx), errTotalTimeout):
		a.word = wordTotalTimeout
	case x.gateway.traffic.wasCut():
		a.word = wordDraining
	}
}

// pump copies from src to dst and counts; nil when src has ended.
func pump(dst io.Writer, src io.Reader, count *atomic.Int64, watch *watchdog) error {
	var buffer copyBuffer
	defer buffer.free()
	for {
		p := buffer.next()
		n, err := src.Read(p)
		watch.moved()
		if n > 0 {
			written, err := dst.Write(p[:n])
			count.Add(int64(written))
			if err != nil {
				return err
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
func writeSwitch(a *answer, w flusher, res *http.Response) error {
	h := make(http.Header, len(res.Header))
	copyResponse(h, res.Header)
	h.Del("Content-Length")
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", res.Header.Get("Upgrade"))
	a.stamp(h)
	if _, err := io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\n"); err != nil {
		return err
	}
	if err := h.Write(w); err != nil {
		return err
	}
	if _, err := io.WriteString(w, "\r\n"); err != nil {
		return err
	}
	return w.Flush()
}
