package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
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

// A handshake that waits for its certificate, which an authority may take minutes for, keeps no server from its end.
func TestDrainEndsHandshakes(t *testing.T) {
	d := newDoor(t, Config{}, echoProgram)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked, released := make(chan struct{}), make(chan struct{})
	defer close(released)
	served := make(chan error, 1)
	go func() {
		served <- d.gateway.Serve(l, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			close(asked)
			select {
			case <-hello.Context().Done():
			case <-released:
			}
			return nil, errors.New("no certificate")
		}})
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	secure := tls.Client(conn, &tls.Config{ServerName: "hello.apps.test"})
	go func() { _ = secure.Handshake() }()
	within(t, "a handshake", asked)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	start := time.Now()
	if err := d.gateway.Drain(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("it took %v", took)
	}
	if err := within(t, "the end of the server", served); !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// lonelyListener gives one connection.
type lonelyListener struct {
	net.Listener
	conns chan net.Conn
}

func (l lonelyListener) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (lonelyListener) Addr() net.Addr { return &net.TCPAddr{} }

// A consumer is not kept for as long as an authority takes for a certificate: its connection holds a descriptor.
func TestHandshakesEndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		l := lonelyListener{conns: make(chan net.Conn, 1)}
		released := make(chan struct{})
		l.conns <- tls.Server(ours, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			<-released
			return nil, errors.New("no certificate")
		}})
		g := &Gateway{config: Config{}.withDefaults(), log: zap.NewNop()}
		s := newConsumerServer(g, g)
		go func() { _ = s.Serve(consumerListener{l, g}) }()
		began := time.Now()
		if err := tls.Client(theirs, &tls.Config{ServerName: "hello.apps.test"}).Handshake(); err == nil {
			t.Error("there is a certificate")
		}
		if took := time.Since(began); took != headerTimeout {
			t.Errorf("it took %v", took)
		}
		close(released)
		close(l.conns)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
