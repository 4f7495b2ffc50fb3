package sandbox

import (
	"testing"
	"time"
)

// What an instance uses is divided by those in flight, and never counted twice.
func TestCPUShare(t *testing.T) {
	var s cpuShare
	first := s.at(5*time.Second, 1) // what was used before anybody asked is nobody's
	if got := s.at(6*time.Second, 1) - first; got != time.Second {
		t.Errorf("one alone got %v of a second", got)
	}
	second := s.at(6*time.Second, 2)
	if got := s.at(8*time.Second, 2); got-second != time.Second || got-first != 2*time.Second {
		t.Errorf("of two, one got %v and one %v", got-second, got-first)
	}
	before := s.at(8*time.Second, 0)
	if got := s.at(0, 1); got != before {
		t.Errorf("an ended sandbox gave %v", got-before)
	}
	if got := s.at(9*time.Second, 0); got-before != time.Second {
		t.Errorf("after it %v", got-before)
	}
}

func TestCPUShareOfALease(t *testing.T) {
	i := &Instance{sandbox: &fakeSandbox{}}
	l := &Lease{Instance: i}
	i.inflight.Store(4)
	begin := l.CPUShare()
	i.sandbox.(*fakeSandbox).cpu.Store(int64(8 * time.Second))
	if got := l.CPUShare() - begin; got != 2*time.Second {
		t.Errorf("one of four got %v of 8 s", got)
	}
}
