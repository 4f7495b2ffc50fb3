package cgroup

import "runtime"

// spawner runs functions on one operating system thread that stays until close. A process started there has that thread
// for its parent: PR_SET_PDEATHSIG acts when the thread ends (prctl(2)), so the thread must live as long as the server,
// and in v1 the thread moves itself into a group so that its child is born there.
type spawner struct {
	work chan func()
	done chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{work: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		for f := range s.work {
			f()
		}
	}()
	return s
}

func (s *spawner) do(f func() error) error {
	result := make(chan error, 1)
	s.work <- func() { result <- f() }
	return <-result
}

func (s *spawner) close() {
	close(s.work)
	<-s.done
}
