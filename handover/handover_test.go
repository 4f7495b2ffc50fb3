package handover_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"apibuilder/handover"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeHolder notes what is asked of it, and hands on one listener.
type fakeHolder struct {
	t        *testing.T
	listener *net.TCPListener
	refuse   error
	steps    chan string
	leave    chan func() // what Leave does first
	closing  chan struct{}
}

// noted tells when its giver is being closed, which gives it a deadline.
type noted struct {
	*net.UnixListener
	closing chan struct{}
}

func (l noted) SetDeadline(at time.Time) error {
	select {
	case l.closing <- struct{}{}:
	default:
	}
	return l.UnixListener.SetDeadline(at)
}

func (h *fakeHolder) Offer(context.Context) (handover.Offer, error) {
	file, err := h.listener.File()
	if err != nil {
		return handover.Offer{}, err
	}
	h.steps <- "offer"
	return handover.Offer{Seat: 1, PID: 42, Sockets: []handover.Socket{{Name: "listen", Address: "here", File: file}}}, nil
}

func (h *fakeHolder) Freeze(context.Context) error {
	h.steps <- "freeze"
	return h.refuse
}
func (h *fakeHolder) Thaw() { h.steps <- "thaw" }
func (h *fakeHolder) Leave() {
	select {
	case f := <-h.leave:
		f()
	default:
	}
	h.steps <- "leave"
}

func (h *fakeHolder) want(steps ...string) {
	h.t.Helper()
	var got []string
	for range steps {
		got = append(got, <-h.steps)
	}
	if !slices.Equal(got, steps) {
		h.t.Errorf("the server did %v, want %v", got, steps)
	}
}

// scene is a server that hands on; dial connects a successor.
func scene(t *testing.T, refuse error) (*fakeHolder, func() *net.UnixConn, *handover.Giver) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &fakeHolder{
		t: t, listener: tcp.(*net.TCPListener), refuse: refuse, steps: make(chan string, 10),
		leave: make(chan func(), 1), closing: make(chan struct{}, 1),
	}
	at := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"}
	l, err := net.ListenUnix("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	giver := handover.Give(noted{l, h.closing}, h)
	t.Cleanup(func() {
		tcp.Close()
		if err := giver.Close(); err != nil {
			t.Error(err)
		}
	})
	return h, func() *net.UnixConn {
		conn, err := net.DialUnix("unix", nil, at)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}, giver
}

func TestASuccessorGetsTheSockets(t *testing.T) {
	h, dial, giver := scene(t, nil)
	claim, offer, err := handover.Ask(t.Context(), dial())
	if err != nil {
		t.Fatal(err)
	}
	if offer.Seat != 1 || offer.PID != 42 || len(offer.Sockets) != 1 || offer.Sockets[0].Name != "listen" || offer.Sockets[0].Address != "here" {
		t.Fatalf("offer %+v", offer)
	}
	second, err := net.FileListener(offer.Sockets[0].File)
	offer.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := claim.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := claim.Serving(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.want("offer", "freeze", "leave")

	// The socket lives on when the first listener is closed.
	address := h.listener.Addr().String()
	h.listener.Close()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if accepted, err := second.Accept(); err != nil {
		t.Fatal(err)
	} else {
		accepted.Close()
	}
	// The stream tells of the end of the server's process, and of nothing before.
	giver.Close()
	select {
	case <-claim.Ended():
		t.Error("the server ended")
	default:
	}
	claim.Close()
	<-claim.Ended()
}

// TestAServerThatLeavesAtOnce stops while Leave is still being called: for its successor it must not have ended, because that
// kills what it finds of a server that has.
func TestAServerThatLeavesAtOnce(t *testing.T) {
	h, dial, giver := scene(t, nil)
	h.leave <- func() {
		go giver.Close()
		<-h.closing // and it waits for Leave's return
	}
	claim, offer, err := handover.Ask(t.Context(), dial())
	if err != nil {
		t.Fatal(err)
	}
	offer.Close()
	defer claim.Close()
	if err := errors.Join(claim.Freeze(t.Context()), claim.Serving(t.Context())); err != nil {
		t.Fatal(err)
	}
	h.want("offer", "freeze", "leave")
	select {
	case <-claim.Ended():
		t.Error("the server ended")
	case <-time.After(100 * time.Millisecond):
	}
}

func TestASuccessorThatFails(t *testing.T) {
	h, dial, _ := scene(t, nil)
	t.Run("before it is prepared", func(t *testing.T) {
		claim, offer, err := handover.Ask(t.Context(), dial())
		if err != nil {
			t.Fatal(err)
		}
		offer.Close()
		claim.Close()
		h.want("offer")
	})
	t.Run("after that", func(t *testing.T) {
		claim, offer, err := handover.Ask(t.Context(), dial())
		if err != nil {
			t.Fatal(err)
		}
		offer.Close()
		if err := claim.Freeze(t.Context()); err != nil {
			t.Fatal(err)
		}
		claim.Close()
		h.want("offer", "freeze", "thaw")
	})
	t.Run("of another time", func(t *testing.T) {
		conn := dial()
		fmt.Fprint(conn, `{"word":"ask","protocol":7}`)
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.Contains(string(answer), "another protocol") {
			t.Errorf("answered %q, %v", answer, err)
		}
		conn.Close()
	})
	t.Run("and another one", func(t *testing.T) {
		claim, offer, err := handover.Ask(t.Context(), dial())
		if err != nil {
			t.Fatal(err)
		}
		offer.Close()
		claim.Close()
		h.want("offer")
	})
}

func TestAServerThatCannotFreeze(t *testing.T) {
	h, dial, _ := scene(t, errors.New("a deploy does not end"))
	claim, offer, err := handover.Ask(t.Context(), dial())
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Close()
	offer.Close()
	if err := claim.Freeze(t.Context()); err == nil || !strings.Contains(err.Error(), "a deploy does not end") {
		t.Errorf("error %v", err)
	}
	h.want("offer", "freeze", "thaw")
}

func TestAskEndsWithItsContext(t *testing.T) {
	at := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"}
	l, err := net.ListenUnix("unix", at) // accepts nobody
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.DialUnix("unix", nil, at)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := handover.Ask(ctx, conn); err == nil {
		t.Error("no error")
	}
}

// exhausted fails to accept once.
type exhausted struct {
	*net.UnixListener
	failed atomic.Bool
}

func (l *exhausted) Accept() (net.Conn, error) {
	if !l.failed.Swap(true) {
		return nil, &net.OpError{Op: "accept", Net: "unix", Err: syscall.EMFILE}
	}
	return l.UnixListener.Accept()
}

// TestAcceptsAgainAfterAFailure: descriptors may be short when a successor comes, and another one comes later.
func TestAcceptsAgainAfterAFailure(t *testing.T) {
	at := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"}
	l, err := net.ListenUnix("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	giver := handover.Give(&exhausted{UnixListener: l}, &fakeHolder{t: t, listener: tcp.(*net.TCPListener), steps: make(chan string, 10)})
	defer giver.Close()
	conn, err := net.DialUnix("unix", nil, at)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	claim, offer, err := handover.Ask(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	offer.Close()
	claim.Close()
}
