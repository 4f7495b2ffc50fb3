package gateway

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"apibuilder/ratelimit"
)

// talker is a connection without a system call: each Read finds what is to be said, so many times.
type talker struct {
	text []byte
	left int
}

func (c *talker) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	c.left--
	return copy(p, c.text), nil
}

func (*talker) Write(p []byte) (int, error) { return len(p), nil }
func (*talker) Close() error                { return nil }
func (*talker) LocalAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080} }

func (*talker) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 43210} }
func (*talker) SetDeadline(time.Time) error      { return nil }
func (*talker) SetReadDeadline(time.Time) error  { return nil }
func (*talker) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkServing serves requests of one connection, one after the other, with key, limits and record, but without sockets, the scheduler
// and the journal: what the gateway itself takes, for which the noise of the rest is too much.
func BenchmarkServing(b *testing.B) {
	const browser = "GET /run/private/items/1?q=2 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: keep-alive\r\n" +
		"sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\n" +
		"X-API-Key: " + testKey + "\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n" +
		"Accept: */*\r\nOrigin: http://127.0.0.1:3000\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n" +
		"Referer: http://127.0.0.1:3000/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\r\n"
	for name, text := range map[string]string{"small": smallRequest, "browser": browser} {
		b.Run(name, func(b *testing.B) {
			st, sandboxes := newFakeStore(), &fakeSandboxes{version: 3, waiting: make(chan struct{}, 100)}
			sandboxes.transport = NewTransport(func(context.Context) (net.Conn, error) {
				return &talker{[]byte(smallAnswer), -1}, nil
			})
			defer sandboxes.transport.CloseIdleConnections()
			g := New(Config{ExitWait: time.Millisecond}, st, sandboxes, ratelimit.New(nil), discardJournal{})
			defer func() { _ = g.Drain(context.Background()) }()
			limitAPI(&door{gateway: g, store: st}, "api_private", 1_000_000_000)
			s := newConsumerServer(g, g)
			b.ReportAllocs()
			b.ResetTimer()
			newHTTP1(s, newConsumerConn(&talker{[]byte(text), b.N}, g)).serve()
		})
	}
}
