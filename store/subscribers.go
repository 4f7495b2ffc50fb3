package store

import "sync"

// Subscribers are who is told of changes; drivers keep theirs in one. The zero value has none. Its methods may be called
// concurrently.
type Subscribers struct {
	mu     sync.RWMutex // read-held while they are called
	all    map[int]func(Change)
	lastID int
}

// Subscribe adds fn until cancel is called. After cancel has returned fn is not running and will not be called, so fn must
// not call cancel.
func (s *Subscribers) Subscribe(fn func(Change)) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[int]func(Change){}
	}
	s.lastID++
	id := s.lastID
	s.all[id] = fn
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, id)
	}
}

// Publish calls every subscriber with every change and returns when they have returned.
func (s *Subscribers) Publish(changes []Change) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, c := range changes {
		for _, fn := range s.all {
			fn(c)
		}
	}
}
