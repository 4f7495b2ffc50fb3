package gateway

import (
	"net"
	"testing"
)

// A timer that fired late looks during the next request, and that request's own looks again: after the first has seen the consumer leave,
// or another request come, the connection has no buffer.
func TestARequestIsLookedAtTwice(t *testing.T) {
	for name, act := range map[string]func(net.Conn){
		"consumer leaves":       func(c net.Conn) { _ = c.Close() },
		"another request comes": func(c net.Conn) { _, _ = c.Write([]byte("G")) },
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			defer theirs.Close()
			g := &Gateway{config: Config{Limits: Limits{HeaderBytes: 1 << 10, URLBytes: 1 << 10}}}
			c := newHTTP1(nil, newConsumerConn(ours, g))
			c.takeBuffer()
			w := newHTTP1Response(c)
			c.watch.begin(w)
			go act(theirs)
			c.watch.look()
			c.watch.look()
			c.watch.stop()
			if c.r == nil {
				t.Fatal("no buffer is left for the next request")
			}
		})
	}
}
