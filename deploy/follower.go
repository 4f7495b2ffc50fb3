package deploy

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"apibuilder/store"
)

// Follower sees to it that the programs of this node end up with what the database calls active, whichever node activated it.
// The manager of sandboxes follows each change by itself; what it could not do then, because a program did not start or the
// database was away, the Follower has it do again, later each time. It also ends the deploys of nodes that died. It is fed by
// the store's changes; many changes of one API are one look. Make one with NewFollower; Start and Stop it once.
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
	failed int  // looks in a row that found it behind
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
	f.work.Go(func() { f.run(life) })
	f.work.Go(func() { f.endGone(life) })
	return nil
}

// Stop gives up looks under way and waits for them. It may be called twice, and without a Start.
func (f *Follower) Stop(context.Context) error {
	if f.cancel == nil {
		return nil
	}
	f.stop()
	f.cancel()
	f.work.Wait()
	f.cancel = nil
	return nil
}

// note has an API looked at when the manager has had its time. It is called by the store after a commit.
func (f *Follower) note(apiID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.apis[apiID]
	if a == nil {
		a = &followed{}
		f.apis[apiID] = a
	}
	a.due, a.again, a.failed = time.Now().Add(firstPause), true, 0
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
	err := f.deployer.follow(bounded, id, f.own)
	cancel()
	if ctx.Err() != nil {
		return
	}
	switch pause, failed := f.settle(id, err); {
	case err == nil, errors.Is(err, errPart), errors.Is(err, store.ErrUnavailable): // the store says that it is away
	case failed > 2: // a start may take a moment
		f.log.Warn("what serves here is not what was activated elsewhere; it goes on, and another attempt is made", zap.String("api", id),
			zap.Error(err), zap.Duration("next_attempt_in", pause))
	}
}

// settle ends the turn of an API, and says when it gets another, and after how many that found it behind.
func (f *Follower) settle(id string, err error) (pause time.Duration, failed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.kick()
	a := f.apis[id]
	a.busy = false
	switch {
	case a.again: // due since it changed
		return 0, 0
	case err == nil, errors.Is(err, errPart) && a.failed >= mostLooks:
		delete(f.apis, id)
		return 0, 0
	}
	pause = min(firstPause<<min(a.failed, 16), longestPause)
	a.failed++
	a.due = time.Now().Add(pause)
	return pause, a.failed
}

// endGone ends what dead nodes left unfinished, and what this one could not undo.
func (f *Follower) endGone(ctx context.Context) {
	tick, soon := time.NewTicker(goneEvery), time.NewTicker(undoEvery)
	defer tick.Stop()
	defer soon.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-soon.C:
			if err := f.deployer.undoLeft(ctx); err != nil && ctx.Err() == nil && !isAway(err) {
				f.log.Warn("undo a deploy that failed while the store was away", zap.Error(err))
			}
			continue
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
