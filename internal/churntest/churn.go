// Package churntest is load of the unpleasant kind: clients that come, go, stall and break off in the middle of whatever
// they do. It is imported by tests only.
package churntest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Target is an API. Its program must answer GET /bytes/N with N bytes, POST /raw with what it read, GET /events with an
// endless stream of events, and take a WebSocket at /ws that sends back what it gets.
type Target struct {
	Address string // of the server
	Path    string // of the API, /run/name
	Key     string
}

// Load has so many clients at a time do these things, in any order, until the context ends, and returns how often each was done. The
// first thing that a client got and should not have ends it, and is returned.
func Load(ctx context.Context, target Target, clients int) (map[string]int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	counts := make([]atomic.Int64, len(acts))
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(i)))
			for ctx.Err() == nil {
				at := random.IntN(len(acts))
				if err := act(ctx, target, random, acts[at].do); err != nil && ctx.Err() == nil {
					cancel(fmt.Errorf("%s: %w", acts[at].name, err))
				}
				counts[at].Add(1)
			}
		})
	}
	group.Wait()
	done := map[string]int64{}
	for i := range acts {
		done[acts[i].name] = counts[i].Load()
	}
	if err := context.Cause(ctx); err != nil && ctx.Err() != nil && !isEnd(err) {
		return done, err
	}
	return done, nil
}

func isEnd(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// client is one connection.
type client struct {
	net.Conn
	r      *bufio.Reader
	t      Target
	random *rand.Rand
	ctx    context.Context
}

func act(ctx context.Context, t Target, random *rand.Rand, do func(*client) error) error {
	var d net.Dialer
	conn, err := d.DialContext(context.WithoutCancel(ctx), "tcp", t.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute)) // only what hangs takes so long, on a busy machine too
	return do(&client{conn, bufio.NewReader(conn), t, random, ctx})
}

// namedAct is what a client does.
type namedAct struct {
	name string
	do   func(*client) error
}

var acts = append(firstActs, secondActs...)

// firstActs are what clients do over HTTP/1.
var firstActs = []namedAct{
	{"some requests on one connection", func(c *client) error {
		for range 1 + c.random.IntN(5) {
			if err := c.whole(c.random.IntN(20_000)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"pipelined requests", func(c *client) error {
		for range 3 {
			c.send("GET", "/bytes/10", "\r\n")
		}
		for range 3 {
			if err := c.read(10); err != nil {
				return err
			}
		}
		return nil
	}},
	{"a download left in the middle", func(c *client) error {
		c.send("GET", "/bytes/3000000", "\r\n")
		_, err := io.CopyN(io.Discard, c.r, int64(c.random.IntN(200_000)))
		return err
	}},
	{"a download that is not read", func(c *client) error {
		c.send("GET", "/bytes/3000000", "\r\n")
		c.pause(300)
		return nil
	}},
	{"an upload left in the middle", func(c *client) error {
		c.send("POST", "/raw", "Content-Length: 1000000\r\n\r\n")
		_, _ = io.WriteString(c.Conn, strings.Repeat("x", c.random.IntN(300_000)))
		return nil
	}},
	{"an upload that stalls", func(c *client) error {
		c.send("POST", "/raw", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel")
		c.pause(300)
		return nil
	}},
	{"a whole upload", func(c *client) error {
		body := strings.Repeat("y", c.random.IntN(200_000))
		c.send("POST", "/raw", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body))
		return c.read(-1)
	}},
	{"half a header", func(c *client) error {
		_, _ = io.WriteString(c.Conn, "GET /run/")
		c.pause(100)
		return nil
	}},
	{"nothing at all", func(c *client) error {
		c.pause(100)
		return nil
	}},
	{"no HTTP", func(c *client) error {
		_, _ = io.WriteString(c.Conn, "\x16\x03\x01 what is this\r\n\r\n")
		_, _ = io.Copy(io.Discard, c.r)
		return nil
	}},
	{"events, then gone", func(c *client) error {
		c.send("GET", "/events", "\r\n")
		if _, err := c.r.ReadString(' '); err != nil {
			return err
		}
		c.pause(200)
		return nil
	}},
	{"a WebSocket, then gone", func(c *client) error {
		c.send("GET", "/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		res, err := http.ReadResponse(c.r, nil)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusSwitchingProtocols {
			return fmt.Errorf("status %s", res.Status)
		}
		_, _ = c.Write([]byte{0x81, 0x82, 1, 2, 3, 4, 'h' ^ 1, 'i' ^ 2}) // a text frame, masked (RFC 6455, 5.2)
		frame := make([]byte, 4)
		if _, err := io.ReadFull(c.r, frame); err != nil || string(frame[2:]) != "hi" {
			return fmt.Errorf("frame %q: %w", frame, err)
		}
		c.pause(200)
		return nil
	}},
	{"a request, reset at once", func(c *client) error {
		c.send("GET", "/bytes/100000", "\r\n")
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return nil
	}},
}

// pause waits up to so many milliseconds.
func (c *client) pause(most int) {
	timer := time.NewTimer(time.Duration(c.random.IntN(most)) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
	}
}

func (c *client) send(method, path, rest string) {
	_, _ = fmt.Fprintf(c.Conn, "%s %s%s HTTP/1.1\r\nHost: churn\r\nX-API-Key: %s\r\n%s", method, c.t.Path, path, c.t.Key, rest)
}

func (c *client) whole(size int) error {
	c.send("GET", fmt.Sprintf("/bytes/%d", size), "\r\n")
	return c.read(size)
}

// read wants an answer with a body of so many bytes; -1 is any.
func (c *client) read(size int) error {
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	switch {
	case err != nil:
		return fmt.Errorf("read the answer: %w", err)
	case res.StatusCode != http.StatusOK || size >= 0 && n != int64(size):
		return fmt.Errorf("status %s, %d bytes of %d", res.Status, n, size)
	}
	return nil
}
