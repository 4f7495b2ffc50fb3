package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"apibuilder/store"
)

// task is a request that a program is at work for, as the program sees it.
type task struct {
	net.Conn
	gone chan struct{} // closed when nobody waits for the answer
}

// taskDoor has a program that tells of each request, and goes on with it until the test closes the connection.
func taskDoor(t *testing.T, c Config, o store.Options) (d *door, tasks chan task) {
	t.Helper()
	tasks = make(chan task, 10)
	d = newRawDoor(t, c, func(conn net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		this := task{conn, make(chan struct{})}
		tasks <- this
		_, _ = io.Copy(io.Discard, r)
		close(this.gone)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n") // is no sign of an end
		<-t.Context().Done()
	})
	d.store.updateAPI("api_public", func(a *store.API) { a.Options = o })
	return d, tasks
}

// A request that nobody waits for any more is one of those that the program may have at a time, until the program has ended it.
func TestAbandonedRequestsCountUntilTheirEnd(t *testing.T) {
	for name, ask := range map[string]func(*door) (leave func()){
		"HTTP/1": func(d *door) func() {
			c := d.dial()
			c.send("GET /run/public/ HTTP/1.1\r\nHost: h\r\n\r\n")
			return func() { _ = c.Close() }
		},
		"an upload": func(d *door) func() {
			c := d.dial()
			c.send("POST /run/public/ HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhel")
			return func() { _ = c.Close() }
		},
		"HTTP/2": func(d *door) func() {
			s := d.second()
			s.open(1, true, "GET")
			return func() { _ = s.WriteRSTStream(1, http2.ErrCodeCancel) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, tasks := taskDoor(t, Config{}, store.Options{MaxRequests: 1, Queue: 1, QueueTimeout: time.Hour})
			leave := ask(d)
			first := <-tasks
			leave()
			<-first.gone
			next := d.dial()
			next.send("GET /run/public/ HTTP/1.1\r\nHost: h\r\n\r\n")
			select {
			case <-tasks:
				t.Fatal("the program has the next request beside the one that was abandoned")
			case <-time.After(50 * time.Millisecond):
			}
			_ = first.Close()
			second := <-tasks
			_, _ = io.WriteString(second, "HTTP/1.1 204 No Content\r\n\r\n")
			if res := next.head("GET"); res.StatusCode != http.StatusNoContent {
				t.Fatal(res.Status)
			}
			d.left(0, "a place is held by a request that has ended")
		})
	}
}

// A program that does not end what was abandoned has it counted for as long again as it has for an answer.
func TestAbandonedRequestsCountForATime(t *testing.T) {
	const limit = 200 * time.Millisecond
	d, tasks := taskDoor(t, Config{Timeouts: Timeouts{FirstByte: limit}}, store.Options{})
	begin := time.Now()
	d.get("/run/public/").wantProblem(t, http.StatusGatewayTimeout, "request_timeout")
	<-(<-tasks).gone
	d.left(0, "the place is held without end")
	if held := time.Since(begin); held < 2*limit-10*time.Millisecond {
		t.Errorf("the place was free after %v", held)
	}
}
