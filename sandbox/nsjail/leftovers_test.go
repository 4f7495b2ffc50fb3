package nsjail

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/sandbox"
	"apibuilder/sandbox/cgroup"
)

// stubborn is a control group that cannot be removed a number of times.
type stubborn struct {
	controlGroup
	left int
}

func (s *stubborn) Events() (cgroup.Events, error) { return cgroup.Events{}, nil }

func (s *stubborn) Remove(context.Context) error {
	if s.left--; s.left >= 0 {
		return errors.New("end processes")
	}
	return nil
}

// TestWhatDidNotEndInTimeIsGivenBackLater ends a jail whose control group cannot be removed at first.
func TestWhatDidNotEndInTimeIsGivenBackLater(t *testing.T) {
	released := make(chan struct{})
	p := &process{
		cmd: exec.Command("/bin/true"), group: &stubborn{left: 2}, done: make(chan struct{}),
		release: func() { close(released) }, leftovers: newLeftovers(),
	}
	defer p.leftovers.close()
	outputs, err := p.connectOutputs()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	outputs.closeWriters()
	p.supervise(outputs, func(sandbox.Line) {}, nil, nil)
	if p.Status().Err == nil {
		t.Error("it is not told that it did not end in time")
	}
	select {
	case <-released:
		t.Error("what its processes may still use was given back")
	default:
	}
	select {
	case <-released:
	case <-time.After(10 * time.Second):
		t.Error("what it held was not given back when its group could be removed")
	}
}

// TestLeftoversAreGivenUpAtTheEnd keeps what a group that never goes holds, and does not wait for it.
func TestLeftoversAreGivenUpAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, soon, never := newLeftovers(), &stubborn{left: 10}, &stubborn{left: 1000}
		var released bool
		l.add(soon, func() { released = true })
		l.add(never, func() { t.Error("what never ended was given back") })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if !released {
			t.Error("nothing was given back within ten minutes")
		}
		l.close()
		l.close()
		if tries := 1000 - never.left; tries > 20 {
			t.Errorf("%d tries in ten minutes", tries)
		}
	})
}
