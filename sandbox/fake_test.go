package sandbox

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"apibuilder/egress"
)

// fakeDriver runs programs as Go handlers, so that the manager's decisions can be tested without jails. What nsjail
// really does is the subject of the conformance suite.
type fakeDriver struct {
	mu       sync.Mutex
	launched int
	running  int
	imports  []string    // that every program tells of
	routes   []Route     // and these
	hung     atomic.Bool // every program has stopped answering
	refuses  error       // what every launch fails with; nil: none does
	mute     bool        // no runner says that it has got its program
	// beforeWaiting plays the time that a sandbox takes until its runner waits; nil: none.
	beforeWaiting func()
	diesAfter     time.Duration                 // of waiting for a program; 0: no sandbox does
	program       func(o order, s *fakeSandbox) // plays the runner after the order has arrived
}

func (d *fakeDriver) Start(context.Context) error { return nil }

func (d *fakeDriver) Stop(context.Context) error {
	if n := d.count(); n > 0 {
		return errors.New("sandboxes are running")
	}
	return nil
}

func (d *fakeDriver) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running
}

func (d *fakeDriver) launches() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.launched
}

func (d *fakeDriver) Launch(_ context.Context, l Launch) (Sandbox, error) {
	if d.refuses != nil {
		return nil, d.refuses
	}
	d.mu.Lock()
	d.launched++
	d.running++
	d.mu.Unlock()
	host, inside := net.Pipe()
	s := &fakeSandbox{driver: d, host: host, inside: inside, conns: make(chan net.Conn), ended: make(chan struct{}), done: make(chan struct{}), output: l.Output, network: l.Network}
	go s.run()
	return s, nil
}

type fakeSandbox struct {
	driver   *fakeDriver
	host     net.Conn
	inside   net.Conn
	conns    chan net.Conn
	server   http.Server
	output   func(Line)
	network  *egress.Guard
	endOnce  sync.Once
	status   Status
	cpu      atomic.Int64  // nanoseconds
	imported []string      // before it had a program
	shown    string        // its files
	ended    chan struct{} // closed first, so that nothing waits for it any more
	done     chan struct{}
}

func (s *fakeSandbox) run() {
	if s.driver.beforeWaiting != nil {
		s.driver.beforeWaiting()
	}
	for {
		s.say(event{Event: "waiting"})
		live := func() bool { return true }
		if s.driver.diesAfter > 0 {
			live = time.AfterFunc(s.driver.diesAfter, func() { s.end(Status{Code: 1}) }).Stop
		}
		var head [4]byte
		_, err := io.ReadFull(s.inside, head[:])
		live()
		if err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(s.inside, body); err != nil {
			return
		}
		var o order
		_ = json.Unmarshal(body, &o)
		if len(o.Import) == 0 {
			if !s.driver.mute {
				s.say(event{Event: "taken"})
			}
			s.driver.program(o, s)
			return
		}
		s.imported = o.Import
	}
}

func (s *fakeSandbox) say(e event) {
	body, _ := json.Marshal(e)
	_, _ = s.inside.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
}

// serve answers requests by h, and the probe.
func (s *fakeSandbox) serve(o order, h http.HandlerFunc) {
	mux := http.NewServeMux()
	mux.HandleFunc(o.Probe, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/", h)
	s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.driver.hung.Load() {
			<-s.ended
		}
		mux.ServeHTTP(w, r)
	})
	go func() { _ = s.server.Serve(s) }()
	s.say(event{Event: "started", Imports: s.driver.imports, Routes: s.driver.routes, ImportSeconds: 1})
}

// Accept, Close and Addr make it a net.Listener for its own server.
func (s *fakeSandbox) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.ended:
		return nil, net.ErrClosed
	}
}
func (s *fakeSandbox) Close() error   { return nil }
func (s *fakeSandbox) Addr() net.Addr { return &net.UnixAddr{Name: "fake"} }

func (s *fakeSandbox) Control() net.Conn { return s.host }

func (s *fakeSandbox) Dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case s.conns <- theirs:
		return ours, nil
	case <-s.ended:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *fakeSandbox) Show(dir string) error { s.shown = dir; return nil }

func (s *fakeSandbox) Stats() (Stats, error) { return Stats{MemoryBytes: 1}, nil }

func (s *fakeSandbox) CPUTime() (time.Duration, error) { return time.Duration(s.cpu.Load()), nil }
func (s *fakeSandbox) Terminate() error                { s.end(Status{Code: 143, Signal: "SIGTERM"}); return nil }

func (s *fakeSandbox) Kill() error           { s.end(Status{Signal: "SIGKILL"}); return nil }
func (s *fakeSandbox) Done() <-chan struct{} { return s.done }
func (s *fakeSandbox) Status() Status        { return s.status }

func (s *fakeSandbox) end(status Status) {
	s.endOnce.Do(func() {
		s.status = status
		close(s.ended)
		_ = s.inside.Close()
		_ = s.server.Close()
		s.driver.mu.Lock()
		s.driver.running--
		s.driver.mu.Unlock()
		close(s.done)
	})
}
