package nsjail_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
)

// late is a driver to whose sandboxes nobody listens, once they have a program, before they have ended: as on a machine that is so
// busy that the end is seen first.
type late struct{ sandbox.Driver }

func (d late) Launch(ctx context.Context, l sandbox.Launch) (sandbox.Sandbox, error) {
	s, err := d.Driver.Launch(ctx, l)
	if err != nil {
		return nil, err
	}
	return &lateSandbox{s, &lateConn{Conn: s.Control(), ended: s.Done()}}, nil
}

type lateSandbox struct {
	sandbox.Sandbox
	control *lateConn
}

func (s *lateSandbox) Control() net.Conn { return s.control }

type lateConn struct {
	net.Conn
	ordered atomic.Bool
	ended   <-chan struct{}
}

func (c *lateConn) Write(p []byte) (int, error) {
	c.ordered.Store(true)
	return c.Conn.Write(p)
}

func (c *lateConn) Read(p []byte) (int, error) {
	if c.ordered.Load() {
		<-c.ended
	}
	return c.Conn.Read(p)
}

func TestTheLastWordIsReadAfterTheEnd(t *testing.T) {
	m := manage(t, sandbox.ManagerConfig{Driver: late{testenv.Driver(t)}})
	spec := testenv.Spec(t, "", "")
	spec.Code = "import nowhere\n"
	_, err := m.Launch(t.Context(), spec)
	exit, ok := errors.AsType[*sandbox.Exit](err)
	if !ok || exit.Reason != sandbox.ImportError {
		t.Errorf("%v", err)
	}
}
