package gateway

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"
)

// Requests that come on connections which were accepted before the drain are answered, on a new one and on one in use.
func TestDrainAnswersOnConnectionsThatItHas(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	const request = "GET /run/public/ HTTP/1.1\r\nHost: h\r\n\r\n"
	used, fresh := d.dial(), d.dial()
	used.send(request)
	if got := used.answer("GET"); got.StatusCode != 200 {
		t.Fatalf("status %d", got.StatusCode)
	}
	for d.gateway.traffic.freshConns() == 0 {
		time.Sleep(time.Millisecond) // until it is accepted
	}
	drained := make(chan error, 1)
	go func() { drained <- d.gateway.Drain(context.Background()) }()
	for !d.gateway.traffic.isRetiring() {
		time.Sleep(time.Millisecond)
	}
	for name, c := range map[string]*raw{"one in use": used, "a new one": fresh} {
		c.send(request)
		if got := c.answer("GET"); got.StatusCode != 200 || !got.Close {
			t.Errorf("on %s: status %d, to be closed %v", name, got.StatusCode, got.Close)
		}
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}
