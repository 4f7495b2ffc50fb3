package gateway

import (
	"bufio"
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// A drain whose time is over ends requests on connections, too, from which nobody reads meanwhile: what has come already is not the
// end, and hides it.
func TestDrainCutsWhatNobodyReads(t *testing.T) {
	const get = "GET /run/public/ HTTP/1.1\r\nHost: h\r\n\r\n"
	for name, text := range map[string]string{
		"a request follows": get + get,
		"garbage follows":   get + "no request\r\n\r\n",
		"the program does not read the body": "POST /run/public/ HTTP/1.1\r\nHost: h\r\nContent-Length: 67108864\r\n\r\n" +
			string(make([]byte, 4<<20)),
	} {
		t.Run(name, func(t *testing.T) {
			began, end := make(chan struct{}), make(chan struct{})
			d := newRawDoor(t, Config{}, func(_ net.Conn, r *bufio.Reader) {
				_, _ = readHead(r)
				began <- struct{}{}
				<-end
			})
			defer close(end)
			c := d.dial()
			go func() { _, _ = io.WriteString(c.Conn, text) }()
			within(t, "a request", began)
			time.Sleep(2 * lookAfter) // until it was looked at
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			start := time.Now()
			if err := d.gateway.Drain(ctx); err == nil {
				t.Error("a drain without time succeeded")
			}
			if took := time.Since(start); took > cutGrace/2 {
				t.Errorf("it took %v", took)
			}
			if d.journal.len() != 1 {
				t.Fatalf("%d records", d.journal.len())
			}
			if u := d.record(); u.Status != statusClientGone || u.Error != wordDraining {
				t.Errorf("record %+v", u)
			}
		})
	}
}
