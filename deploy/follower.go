package deploy

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"apibuilder/store"
)

// Follower keeps the programs of this node at what the database calls active, whichever node activated it. It is fed by the
// store's changes; many changes of one API are one look at it, and a look that fails is repeated, later each time. It also
// ends the deploys of nodes that died. Make one with NewFollower; Start and Stop it once.
type Follower struct {
	deployer *Deployer
	own      Own
	log      *zap.Logger
	cancel   context.CancelFunc
	stop     func() // the subscription
	work     sync.WaitGroup
	wake     chan struct{}

	mu   sync.Mutex
	apis map[string]*followed
}

// followed is an API that is to be looked at.
type followed struct {
	due    time.Time
	busy   bool
	again  bool // it changed while it was looked at
	failed int  // looks in a row that did not do it
}

// NewFollower returns a Follower. It does no I/O.
func NewFollower(d *Deployer, own Own, log *zap.Logger) *Follower {
	if log == nil {
		log = zap.NewNop()
	}
	return &Follower{deployer: d, own: own, log: log, wake: make(chan struct{}, 1), apis: map[string]*followed{}}
}

// Start begins to follow. Call it before the first program runs.
func (f *Follower) Start(context.Context) error {
	life, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.stop = f.deployer.store.Subscribe(func(c store.Change) {
		if c.APIID != "" {
			f.note(c.APIID)
		}
	})
	f.deployer.known.onStart(f.note) // what was activated while its start was being prepared
	f.work.Go(func() { f.run(life) })
	f.work.Go(func() { f.endGone(life) })
	return nil
}

// Stop gives up looks under way and waits for them. It may be called twice, and without a Start.
func (f *Follower) Stop(context.Context) error {
	if f.cancel == nil {
		return nil
	}
	f.deployer.known.onStart(nil)
	f.stop()
	f.cancel()
	f.work.Wait()
	f.cancel = nil
	return nil
}

// note has an API looked at as soon as there is a worker. It is called by the store after a commit.
func (f *Follower) note(apiID string) {
	if _, ran := f.deployer.known.find(apiID); !ran {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.apis[apiID]
	if a == nil {
		a = &followed{}
		f.apis[apiID] = a
	}
	a.due, a.again, a.failed = time.Now(), true, 0
	f.kick()
}

func (f *Follower) kick() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run gives due APIs to workers.
func (f *Follower) run(ctx context.Context) {
	slots := make(chan struct{}, followWorkers)
	var workers sync.WaitGroup
	defer workers.Wait()
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		id := f.next(ctx)
		if id == "" {
			return
		}
		workers.Go(func() {
			defer func() { <-slots }()
			f.look(ctx, id)
		})
	}
}

// next waits for an API that is due and marks it busy; empty when ctx ended.
func (f *Follower) next(ctx context.Context) string {
	for {
		id, wait := f.take(time.Now())
		if id != "" {
			return id
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ""
		case <-f.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (f *Follower) take(now time.Time) (id string, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	wait = longestPause
	for candidate, a := range f.apis {
		if a.busy {
			continue
		}
		if left := a.due.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		a.busy, a.again = true, false
		return candidate, 0
	}
	return "", wait
}

func (f *Follower) look(ctx context.Context, id string) {
	bounded, cancel := context.WithTimeout(ctx, followTime)
	changed, err := f.deployer.follow(bounded, id, f.own)
	cancel()
	if ctx.Err() != nil {
		return
	}
	pause, retried := f.settle(id, err)
	switch {
	case err == nil && changed:
		f.log.Info("follows what another node changed", zap.String("api", id))
	case err == nil, errors.Is(err, errLater), errors.Is(err, errBusy), errors.Is(err, store.ErrUnavailable): // the store says that it is away
	case retried:
		f.log.Warn("cannot follow what another node changed; what served here before goes on", zap.String("api", id), zap.Error(err),
			zap.Duration("next_attempt_in", pause))
	}
}

// settle ends the turn of an API, and says when it gets another.
func (f *Follower) settle(id string, err error) (pause time.Duration, again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.kick()
	a := f.apis[id]
	a.busy = false
	switch {
	case a.again:
		return 0, true // due since it changed
	case err == nil, errors.Is(err, errLater) && a.failed >= mostLater:
		delete(f.apis, id)
		return 0, false
	}
	pause = min(firstPause<<min(a.failed, 16), longestPause)
	a.failed++
	a.due = time.Now().Add(pause)
	return pause, true
}

// endGone ends what dead nodes left unfinished.
func (f *Follower) endGone(ctx context.Context) {
	tick := time.NewTicker(goneEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n, err := f.deployer.endUnfinished(ctx, func(store.Version) bool { return false })
		switch {
		case n > 0:
			f.log.Warn("deploys of nodes that are gone were under way; they failed", zap.Int("versions", n))
		case err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable):
			f.log.Warn("look for deploys of nodes that are gone", zap.Error(err))
		}
	}
}
