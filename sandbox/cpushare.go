package sandbox

import (
	"sync"
	"time"
)

// cpuShare divides the CPU time of an instance among the requests that are in flight. The zero value is ready to use.
type cpuShare struct {
	mu   sync.Mutex
	read bool
	used time.Duration // what was divided
	each time.Duration // what a request has got that is in flight since the beginning
}

// at takes in what the instance has used by now, with so many requests in flight since it was told last.
func (s *cpuShare) at(used time.Duration, inflight int64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read && used > s.used {
		s.each += (used - s.used) / time.Duration(max(inflight, 1))
	}
	s.read, s.used = true, max(used, s.used)
	return s.each
}

// CPUShare returns how much of the CPU time that the sandbox has used fell to each request in flight, counted from anywhere: the
// difference of two calls is what fell to one that was in flight between them. What was used between two calls of any leases
// is divided by those in flight at the later one. It reads the sandbox's control group: some 10 µs. An ended sandbox uses nothing more.
func (l *Lease) CPUShare() time.Duration {
	used, err := l.sandbox.CPUTime()
	if err != nil {
		used = 0 // what it used is gone
	}
	return l.cpu.at(used, l.inflight.Load())
}
