package gateway

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

// The end of a connection is seen below TLS and the PROXY protocol, and behind bytes that nobody has read.
func TestHungUp(t *testing.T) {
	secure := func(c net.Conn) net.Conn { return tls.Server(c, &tls.Config{}) }
	proxied := func(c net.Conn) net.Conn { return proxyproto.NewConn(c) }
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"plain": func(c net.Conn) net.Conn { return c },
		"TLS":   secure,
		"PROXY": proxied,
		"both":  func(c net.Conn) net.Conn { return secure(proxied(c)) },
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			ours, theirs := connected(t, l)
			c := newConsumerConn(wrap(ours), &Gateway{})
			if _, err := theirs.Write([]byte("unread")); err != nil || c.hungUp() {
				t.Fatalf("it has not ended: %v", err)
			}
			_ = theirs.Close()
			for begin := time.Now(); !c.hungUp(); time.Sleep(time.Millisecond) { // the end takes its way
				if time.Since(begin) > patience {
					t.Fatal("its end is not seen")
				}
			}
		})
	}
}
