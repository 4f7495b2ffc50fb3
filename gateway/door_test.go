package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"apibuilder/ratelimit"
	"apibuilder/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testKey   = "ab_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	otherKey  = "ab_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	revokedK  = "ab_cccccccccccccccccccccccccccccccc"
	unknownK  = "ab_dddddddddddddddddddddddddddddddd"
	testToken = "abt_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	patience  = 10 * time.Second // for events that must come; a test that waits so long fails
)

// door is a gateway with one program behind it, on real sockets.
type door struct {
	t         testing.TB
	gateway   *Gateway
	store     *fakeStore
	journal   *fakeJournal
	sandboxes *fakeSandboxes
	addr      string
	security  *tls.Config // dial's, inside TLS; see secure
	url       string
	client    *http.Client
}

// newDoor serves the program with net/http on a Unix socket.
func newDoor(t testing.TB, c Config, program http.HandlerFunc) *door {
	t.Helper()
	l := listenUnix(t)
	s := &http.Server{Handler: program, DisableGeneralOptionsHandler: true}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(abandonedListener{l})
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return newDoorTo(t, c, l.Addr().String())
}

// abandonedListener has requests that nobody waits for any more be over at once, as the runner has a program that ends with them.
type abandonedListener struct{ net.Listener }

func (l abandonedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return abandonedConn{conn}, err
}

type abandonedConn struct{ net.Conn }

func (c abandonedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		_ = c.Close()
	}
	return n, err
}

// newRawDoor runs the program once for each connection, which it gets as it is.
func newRawDoor(t testing.TB, c Config, program func(net.Conn, *bufio.Reader)) *door {
	t.Helper()
	l := listenUnix(t)
	var group sync.WaitGroup
	var stopping atomic.Bool
	var conns sync.Map
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(conn, nil)
			group.Go(func() {
				defer conn.Close()
				if !stopping.Load() {
					program(conn, bufio.NewReader(conn))
				}
			})
		}
	})
	t.Cleanup(func() {
		stopping.Store(true)
		_ = l.Close()
		conns.Range(func(conn, _ any) bool { _ = conn.(net.Conn).Close(); return true })
		group.Wait()
	})
	return newDoorTo(t, c, l.Addr().String())
}

func listenUnix(t testing.TB) net.Listener {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw") // a test's own directory may be too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newDoorTo(t testing.TB, c Config, socket string) *door {
	t.Helper()
	d := &door{
		t: t, store: newFakeStore(), journal: &fakeJournal{added: make(chan store.Usage, 1<<17)},
		sandboxes: &fakeSandboxes{version: 3, startWait: 7 * time.Millisecond, waiting: make(chan struct{}, 100)},
	}
	d.sandboxes.transport = NewTransport(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	})
	if c.ExitWait == 0 {
		c.ExitWait = 20 * time.Millisecond
	}
	d.gateway = New(c, d.store, d.sandboxes, ratelimit.New(nil), d.journal)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.addr = l.Addr().String()
	d.url = "http://" + d.addr
	transport := &http.Transport{DisableCompression: true}
	d.client = &http.Client{
		Transport:     transport,
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.gateway.Serve(l, nil)
	}()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = d.gateway.Drain(ctx)
		<-done
		d.sandboxes.transport.CloseIdleConnections()
		if held := d.sandboxes.held; held != 0 {
			t.Errorf("%d leases were not released", held)
		}
	})
	return d
}

// request makes a request with the private API's key.
func (d *door) request(method, target string, body io.Reader) *http.Request {
	d.t.Helper()
	r, err := http.NewRequest(method, d.url+target, body)
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("X-API-Key", testKey)
	return r
}

// got is a response with its whole body.
type got struct {
	*http.Response
	text string
}

func (d *door) do(r *http.Request) got {
	d.t.Helper()
	res, err := d.client.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return got{res, string(text)}
}

func (d *door) get(target string) got { return d.do(d.request("GET", target, nil)) }

// wantProblem checks an answer made by the gateway.
func (g got) wantProblem(t testing.TB, status int, word string) {
	t.Helper()
	var body problemBody
	if err := json.Unmarshal([]byte(g.text), &body); err != nil {
		t.Fatalf("status %d, body %q: %v", g.StatusCode, g.text, err)
	}
	if g.StatusCode != status || body.Type != word || body.Status != status {
		t.Fatalf("status %d, body %+v; want %d %s", g.StatusCode, body, status, word)
	}
	if body.Title == "" || body.Detail == "" || body.RequestID == "" || body.RequestID != g.Header.Get("X-Request-ID") {
		t.Fatalf("incomplete problem %+v, X-Request-ID %q", body, g.Header.Get("X-Request-ID"))
	}
	if g.Header.Get("Content-Type") != "application/problem+json" || g.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("header %v", g.Header)
	}
}

// record waits for the next usage record.
func (d *door) record() store.Usage {
	d.t.Helper()
	select {
	case u := <-d.journal.added:
		return u
	case <-time.After(patience):
		d.t.Fatal("no usage record")
		return store.Usage{}
	}
}

// raw is a consumer's connection on which tests write bytes.
type raw struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

// secure has dial connect inside TLS, to another of the gateway's listeners.
func (d *door) secure() {
	d.t.Helper()
	authority := httptest.NewUnstartedServer(nil) // for its certificate
	authority.StartTLS()
	defer authority.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	d.addr, d.security = l.Addr().String(), authority.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	d.security.ServerName, d.security.DynamicRecordSizingDisabled = "example.com", true
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.gateway.Serve(l, authority.TLS)
	}()
	d.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = d.gateway.Drain(ctx)
		<-done
	})
}

func (d *door) dial() *raw {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	d.t.Cleanup(func() { _ = conn.Close() })
	if d.security != nil {
		conn = tls.Client(conn, d.security)
	}
	return &raw{conn, d.t, bufio.NewReader(conn)}
}

func (c *raw) send(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.Conn, format, args...); err != nil {
		c.t.Fatal(err)
	}
}

// head reads the header of a response to a method.
func (c *raw) head(method string) *http.Response {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatal(err)
	}
	return res
}

func (c *raw) answer(method string) got {
	c.t.Helper()
	res := c.head(method)
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return got{res, string(text)}
}

// readHead reads a request's header as the bytes that arrived.
func readHead(r *bufio.Reader) (string, error) {
	var head bytes.Buffer
	for {
		line, err := r.ReadString('\n')
		head.WriteString(line)
		if err != nil || strings.TrimRight(line, "\r\n") == "" {
			return head.String(), err
		}
	}
}

// within fails the test when an event does not come.
func within[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing happened", what)
		panic("unreachable")
	}
}
