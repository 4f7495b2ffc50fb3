package endtoend

import (
	"io"
	"net/http"
	"testing"
)

// testConnect has the program take no more connections, of which some fit into its backlog or are there already. It fails its probe and
// is ended, and the next consumer finds another one.
func (a *stalling) testConnect(t *testing.T) {
	a.set("connect-timeout", "1s")
	deaf := a.dial(t)
	deaf.request("GET", "/deaf", "\r\n")
	res := deaf.head("GET")
	a.wantRecord(res, "request_timeout") // why the program was ended
	deaf.want("4\r\ndeaf\r\n")
	consumers := make([]*wire, 8)
	for i := range consumers {
		consumers[i] = a.dial(t)
		consumers[i].request("GET", "/read", "\r\n")
	}
	got := map[string]int{}
	for _, w := range consumers {
		res, text := w.answer("GET")
		got[answer{body: []byte(text)}.problem()]++
		if res.StatusCode != 504 {
			t.Errorf("status %d, %s", res.StatusCode, text)
		}
	}
	if got["connect_timeout"] == 0 || got["connect_timeout"]+got["request_timeout"] != len(consumers) {
		t.Errorf("answers: %v", got)
	}
	a.set("connect-timeout", "")
	if res, text := a.ask(t, "GET", "/read", "\r\n"); text != "well" {
		t.Errorf("the next request: status %d, %s", res.StatusCode, text)
	}
}

// hold begins a stream and a WebSocket, with the word that will be in the record of that.
func (a *stalling) hold(t *testing.T, word string) (stream *http.Response, socket *wire) {
	t.Helper()
	w, socket := a.dial(t), a.dial(t)
	w.request("GET", "/begun", "\r\n")
	stream = w.head("GET")
	a.wantRecord(stream, "draining")
	socket.request("GET", "/ws", askWebSocket+"\r\n")
	a.wantRecord(socket.head("GET"), word)
	return stream, socket
}

// testDrain has requests under way outlast the time that they have when a new version is there, which is shorter than the server's.
func (a *stalling) testDrain(t *testing.T) {
	a.set("drain-timeout", "300ms")
	stream, socket := a.hold(t, "") // uvicorn closes it by itself
	silent := a.dial(t)
	silent.request("GET", "/silent", "\r\n")
	a.server.deploy(a.Name, sample(t, "stalls/app.py"), sample(t, "stalls/requirements.txt"))
	if text, err := io.ReadAll(stream.Body); err == nil {
		t.Errorf("%q passed for a whole answer", text)
	}
	socket.wantClose(1012, "")
	res := silent.head("GET")
	a.wantRecord(res, "draining")
	wantProblem(t, res, "draining")
	if res, text := a.ask(t, "GET", "/read", "\r\n"); text != "well" {
		t.Errorf("the new version: status %d, %s", res.StatusCode, text)
	}
}

// testEnd has requests under way outlast the server's own time, which alone holds at its end.
func (a *stalling) testEnd(t *testing.T) {
	a.set("drain-timeout", "1h")
	stream, socket := a.hold(t, "draining")
	a.server.stop()
	if text, err := io.ReadAll(stream.Body); err == nil {
		t.Errorf("%q passed for a whole answer", text)
	}
	socket.wantClose(1001, "draining")
}
