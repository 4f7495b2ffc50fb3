package endtoend

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// echo answers over HTTP and over a WebSocket.
const echo = hello + `
from fastapi import WebSocket
@app.websocket("/ws")
async def ws(socket: WebSocket):
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)
`

// calls calls one API all the time: on connections that stay, on a new one for each request, and over WebSockets. It counts
// as failed whatever a consumer would see as such, and does nothing again by itself, which Go's own client would.
type calls struct {
	t        *testing.T
	api      deployed
	answered atomic.Int64  // requests
	echoed   atomic.Int64  // messages
	closed   atomic.Int64  // WebSockets that the server closed with a code and said why
	pause    time.Duration // between a client's requests: the machine is busy enough with what is tested
	stopping chan struct{}
	clients  sync.WaitGroup

	mu     sync.Mutex
	failed []failure
}

// failure is one call that did not go well.
type failure struct {
	kind, problem string
	err           error
}

func (f failure) String() string { return fmt.Sprintf("%s: %s %v", f.kind, f.problem, f.err) }

const loadPatience = 3 * time.Minute // of one call

// startLoad begins to call; stop ends it and returns what failed.
func startLoad(t *testing.T, d deployed, staying, fresh, sockets int) *calls {
	t.Helper()
	l := &calls{t: t, api: d, pause: 5 * time.Millisecond, stopping: make(chan struct{})}
	for range staying {
		l.run("keep-alive", func() error { return l.stay() })
	}
	for range fresh {
		l.run("fresh connection", func() error { return l.once() })
	}
	for range sockets {
		l.run("websocket", func() error { return l.talk() })
	}
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *calls) ended() bool {
	select {
	case <-l.stopping:
		return true
	default:
		return false
	}
}

func (l *calls) run(kind string, client func() error) {
	l.clients.Go(func() {
		for !l.ended() {
			if err := client(); err != nil {
				var bad *badAnswer
				f := failure{kind: kind, err: err}
				if errors.As(err, &bad) {
					f.problem = bad.problem
				}
				l.mu.Lock()
				l.failed = append(l.failed, f)
				l.mu.Unlock()
				time.Sleep(5 * time.Millisecond) // a server that is away refuses at once
			}
		}
	})
}

func (l *calls) stop() []failure {
	if !l.ended() {
		close(l.stopping)
	}
	l.clients.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.failed)
}

// take returns what failed since it was called last.
func (l *calls) take() []failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	failed := l.failed
	l.failed = nil
	return failed
}

// more waits until n more requests are answered.
func (l *calls) more(n int64) {
	l.t.Helper()
	for goal, deadline := l.answered.Load()+n, time.Now().Add(loadPatience); l.answered.Load() < goal; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("the load stands still: %v", l.stop())
		}
	}
}

// errBrokenOff says that an answer had begun: its status was sent, so a broken connection is all that can be told.
var errBrokenOff = errors.New("the answer broke off")

type badAnswer struct {
	status        int
	problem, body string
}

func (e *badAnswer) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.body) }

func (l *calls) dial() (net.Conn, *bufio.Reader, string, error) {
	u, err := url.Parse(l.api.URL)
	if err != nil {
		return nil, nil, "", err
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, nil, "", err
	}
	_ = conn.SetDeadline(time.Now().Add(loadPatience))
	return conn, bufio.NewReader(conn), u.Path, nil
}

// ask sends one request on a connection and reads its answer.
func (l *calls) ask(conn net.Conn, r *bufio.Reader, path, extra string) (last bool, err error) {
	_ = conn.SetDeadline(time.Now().Add(loadPatience))
	time.Sleep(l.pause)
	if _, err := fmt.Fprintf(conn, "GET %s/ HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\n%s\r\n", path, l.api.Key, extra); err != nil {
		return true, err
	}
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return true, err
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return true, fmt.Errorf("%w: %w", errBrokenOff, err)
	}
	if res.StatusCode != http.StatusOK {
		return res.Close, &badAnswer{res.StatusCode, answer{body: body}.problem(), string(body)}
	}
	l.answered.Add(1)
	return res.Close, nil
}

// stay uses one connection until the server says that it ends.
func (l *calls) stay() error {
	conn, r, path, err := l.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	for last := false; !last && !l.ended(); {
		if last, err = l.ask(conn, r, path, ""); err != nil {
			return err
		}
	}
	return nil
}

func (l *calls) once() error {
	conn, r, path, err := l.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = l.ask(conn, r, path, "Connection: close\r\n")
	return err
}

// talk has messages echoed until the server closes the WebSocket as RFC 6455 says.
func (l *calls) talk() error {
	conn, r, path, err := l.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s/ws HTTP/1.1\r\nHost: h\r\nX-API-Key: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, l.api.Key)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(res.Body)
		return &badAnswer{res.StatusCode, answer{body: body}.problem(), string(body)}
	}
	for !l.ended() {
		_ = conn.SetDeadline(time.Now().Add(loadPatience))
		_, writeErr := conn.Write([]byte{0x81, 0x82, 0, 0, 0, 0, 'h', 'i'}) // after the server has closed it may fail
		opcode, payload, err := readFrame(r)
		for err == nil && opcode == 9 && len(payload) < 126 { // a ping of uvicorn's, every 20 seconds: the echo comes after it
			_, writeErr = conn.Write(append([]byte{0x8a, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...))
			opcode, payload, err = readFrame(r)
		}
		switch {
		case err != nil:
			return errors.Join(err, writeErr)
		case opcode == 8 && len(payload) >= 2:
			if code := uint16(payload[0])<<8 | uint16(payload[1]); code != 1012 && code != 1001 {
				return fmt.Errorf("the WebSocket was closed with %d %q", code, payload[2:])
			}
			l.closed.Add(1)
			return nil
		case opcode != 1 || string(payload) != "hi":
			return fmt.Errorf("a frame with opcode %d: %q", opcode, payload)
		}
		l.echoed.Add(1)
		time.Sleep(4 * l.pause)
	}
	return nil
}

func readFrame(r *bufio.Reader) (opcode byte, payload []byte, err error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	if head[1] > 125 {
		return 0, nil, errors.New("a long frame")
	}
	payload = make([]byte, head[1])
	_, err = io.ReadFull(r, payload)
	return head[0] & 15, payload, err
}
