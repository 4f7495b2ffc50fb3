package sandbox

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// pool keeps warm sandboxes: their runner waits with the packages of an environment imported, and no author's code has been
// in them. Each becomes the sandbox of one program, once, and never comes back.
//
// It follows use: a place that a sandbox was needed for gets one, more when they were needed in short order, and none any
// more when nobody has needed one for a while. All together stay within a memory budget; the place whose use is longest ago
// gives way. One is started at a time, after those who need theirs now; one that takes long holds up its own place alone. A place
// whose sandboxes do not start, or do not live to be claimed, is held off as a program is.
type pool struct {
	launcher *launcher
	budget   int64       // bytes
	spacious func() bool // whether the host has memory for one more
	log      *zap.Logger
	wake     chan struct{}

	mu      sync.Mutex
	shelves map[place]*shelf
	closed  bool
	ending  sync.WaitGroup
}

// shelf holds the warm sandboxes of one place.
type shelf struct {
	waiting []*Instance
	making  int         // are being started
	memory  int64       // bytes that the newest took; a guess before there was one
	needed  []time.Time // of late
	last    time.Time   // when one was needed
	backoff backoff
}

const (
	warmMost    = 8                      // of one place
	warmGuess   = 64 << 20               // bytes
	warmKeep    = time.Hour              // after the last use
	warmRecent  = time.Minute            // uses so long ago count for how many are kept
	warmPause   = 100 * time.Millisecond // after a use, for the start that needs the processor now
	warmShelves = 1000                   // places that are remembered
)

func newPool(l *launcher, budget int64, spacious func() bool, log *zap.Logger) *pool {
	return &pool{launcher: l, budget: budget, spacious: spacious, log: log, wake: make(chan struct{}, 1), shelves: map[place]*shelf{}}
}

// take returns a sandbox for the program, claimed, or nil. One with the program's imports is best, one without will do.
func (p *pool) take(spec Spec, imports string) *Instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	defer p.kick()
	best := placeOf(spec, imports)
	i := p.needLocked(best).claim(spec)
	if i == nil && imports != "" {
		if plain := p.shelves[placeOf(spec, "")]; plain != nil {
			i = plain.claim(spec)
		}
	}
	return i
}

// expect keeps one for the next start of a program whose imports are known now.
func (p *pool) expect(spec Spec, imports string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.shelfLocked(placeOf(spec, imports))
		p.kick()
	}
}

// shelfLocked returns the shelf of a place, which counts as used now.
func (p *pool) shelfLocked(at place) *shelf {
	s := p.shelves[at]
	if s == nil {
		if len(p.shelves) >= warmShelves {
			p.dropLocked(p.oldestLocked(nil))
		}
		s = &shelf{memory: warmGuess}
		p.shelves[at] = s
	}
	s.last = time.Now()
	return s
}

// needLocked notes that a sandbox of a place is needed.
func (p *pool) needLocked(at place) *shelf {
	s := p.shelfLocked(at)
	s.needed = append(s.needed, s.last)
	if len(s.needed) > 4*warmMost {
		s.needed = s.needed[1:]
	}
	return s
}

// claim gives the newest that still lives to a program.
func (s *shelf) claim(spec Spec) *Instance {
	for len(s.waiting) > 0 {
		last := len(s.waiting) - 1
		i := s.waiting[last]
		s.waiting = slices.Delete(s.waiting, last, last+1)
		if i.claim(spec) {
			s.backoff = backoff{}
			return i
		}
	}
	return nil
}

// want is how many should wait: one, and one more for every four that were needed of late.
func (s *shelf) want(now time.Time) int {
	s.needed = slices.DeleteFunc(s.needed, func(at time.Time) bool { return now.Sub(at) > warmRecent })
	return min(1+len(s.needed)/4, warmMost)
}

func (p *pool) kick() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run fills the shelves until ctx ends, and ends what is on them then.
func (p *pool) run(ctx context.Context) {
	defer p.empty()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-time.After(warmRecent):
		}
		for p.fill(ctx) {
		}
	}
}

// fill starts one sandbox where one is missing, and reports whether it did.
func (p *pool) fill(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(warmPause):
	}
	if !p.spacious() {
		return false
	}
	at, s := p.next()
	if s == nil {
		return false
	}
	stocked := make(chan bool, 1)
	p.ending.Go(func() { stocked <- p.stock(ctx, at, s) })
	select {
	case did := <-stocked:
		return did
	case <-time.After(mostTurn): // it goes on, beside those of other places
		return true
	}
}

// stock starts a sandbox for the shelf that next has chosen, and reports whether it did.
func (p *pool) stock(ctx context.Context, at place, s *shelf) bool {
	i, err := p.warm(ctx, at)
	p.mu.Lock()
	defer p.mu.Unlock()
	s.making--
	switch {
	case err != nil:
		_ = s.backoff.failed(time.Now(), err) // nobody waits for it
		if ctx.Err() == nil {
			p.log.Warn("a warm sandbox did not start", zap.String("environment", at.environment), zap.Error(err))
		}
		return false
	case p.shelves[at] != s: // it was dropped meanwhile
		p.end(i)
		return true
	}
	defer p.kick() // nobody may have waited for it
	s.waiting = append(s.waiting, i)
	if stats, err := i.Stats(); err == nil && stats.MemoryBytes > 0 {
		s.memory = stats.MemoryBytes
	}
	go p.watch(at, s, i, time.Now())
	return true
}

// next chooses the place that is most recently used of those that lack a sandbox, and makes room for it; it returns no shelf when
// there is none. Places that nobody has used for long are dropped, and those whose environment was removed.
func (p *pool) next() (at place, chosen *shelf) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for candidate, s := range p.shelves {
		if now.Sub(s.last) > warmKeep || candidate.gone() {
			p.dropLocked(candidate)
			continue
		}
		lacks := s.making == 0 && len(s.waiting) < s.want(now) && s.backoff.check(now) == nil
		if lacks && (chosen == nil || s.last.After(chosen.last)) {
			at, chosen = candidate, s
		}
	}
	if chosen == nil || !p.makeRoomLocked(chosen) {
		return place{}, nil
	}
	chosen.making++
	return at, chosen
}

// makeRoomLocked drops what was used before s until one more of it fits into the budget.
func (p *pool) makeRoomLocked(s *shelf) bool {
	for {
		var taken int64
		for _, other := range p.shelves {
			taken += other.memory * int64(len(other.waiting)+other.making)
		}
		if taken+s.memory <= p.budget {
			return true
		}
		oldest := p.oldestLocked(func(other *shelf) bool { return len(other.waiting) > 0 && other.last.Before(s.last) })
		if p.shelves[oldest] == nil {
			return false
		}
		p.dropLocked(oldest)
	}
}

// oldestLocked returns the place of those that count whose use is longest ago, or one that is no place.
func (p *pool) oldestLocked(counts func(*shelf) bool) (at place) {
	var oldest *shelf
	for candidate, s := range p.shelves {
		if (counts == nil || counts(s)) && (oldest == nil || s.last.Before(oldest.last)) {
			at, oldest = candidate, s
		}
	}
	return at
}

func (p *pool) dropLocked(at place) {
	if s := p.shelves[at]; s != nil {
		delete(p.shelves, at)
		for _, i := range s.waiting {
			p.end(i)
		}
	}
}

// giveUp ends a sandbox of the place whose use is longest ago, and calls gone afterwards. It reports whether there was one.
func (p *pool) giveUp(gone func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.shelves[p.oldestLocked(func(other *shelf) bool { return len(other.waiting) > 0 })]
	if s == nil || p.closed || len(s.waiting) == 0 {
		return false
	}
	i := s.waiting[0]
	s.waiting = slices.Delete(s.waiting, 0, 1)
	p.ending.Go(func() {
		i.kill(&Exit{Reason: Draining})
		gone()
	})
	return true
}

func (p *pool) end(i *Instance) {
	p.ending.Go(func() { i.kill(&Exit{Reason: Draining}) })
}

// warm starts a sandbox without a program.
func (p *pool) warm(ctx context.Context, at place) (*Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, p.launcher.startTimeout)
	defer cancel()
	i, err := p.launcher.begin(ctx, at, nil)
	if err != nil {
		return nil, err
	}
	if err := p.launcher.await(ctx, i, at.imports); err != nil {
		return nil, p.launcher.startFailure(ctx, i, err)
	}
	return i, nil
}

// watch takes a sandbox that ended by itself off its shelf. One that waited for a short time only has failed to start, in effect:
// without that, code of packages that ends it would have the host make sandboxes for as long as its place is kept.
func (p *pool) watch(at place, s *shelf, i *Instance, since time.Time) {
	<-i.done
	p.mu.Lock()
	defer p.mu.Unlock()
	n := slices.Index(s.waiting, i)
	if n < 0 || p.shelves[at] != s { // it was claimed, or we ended it
		return
	}
	s.waiting = slices.Delete(s.waiting, n, n+1)
	_ = s.backoff.died(time.Now(), since, i.Exit()) // nobody waits for it
	p.log.Warn("a warm sandbox ended before it had a program", zap.String("environment", at.environment), zap.Error(i.Exit()))
}

// count is how many wait.
func (p *pool) count() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.shelves {
		n += len(s.waiting)
	}
	return n
}

func (p *pool) empty() {
	p.close()
	p.ending.Wait()
}

// close ends what waits, in the background, and nothing waits again.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for at := range p.shelves {
		p.dropLocked(at)
	}
}
