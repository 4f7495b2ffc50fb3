// Package adopt takes over the APIs of the platform that this one replaces. Its table `apis` stays where it is and goes on being
// written by other programs. A Follower makes an API of each row, under the row's id, and deploys what changes by the ordinary
// way, so that broken code never takes traffic:
//
//	their row -> mark changed? -> stamp changed? -> deploy.Deployer -> noted as followed, with the problem if it has one
//
// A row that is there when a Follower starts and was never followed is taken over as it is, without starting it: it served until
// now, and a thousand rows must not hold up a start. Its program starts when it is called. Check says beforehand what of a row
// would not work.
package adopt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"apibuilder/deploy"
	"apibuilder/store"
)

const (
	defaultEvery = 5 * time.Second
	defaultGrace = time.Hour // a dump makes all tables first, and fills them in its own time
	mostDeploys  = 4         // at a time
	readAtOnce   = 50        // rows
	stepTimeout  = 30 * time.Second
)

// Rows is the table. store/postgres has one; the contracts are there.
type Rows interface {
	Changed() <-chan struct{}
	Marks(ctx context.Context) (marks map[string]string, all bool, err error)
	Read(ctx context.Context, ids []string) ([]store.Row, error)
	Followed(ctx context.Context, ids ...string) (map[string]store.Followed, error)
	Take(ctx context.Context, id string, f store.Followed) error
	Forget(ctx context.Context, id string) error
	Suspend(ctx context.Context, id string) error
	Lead(ctx context.Context) (bool, error)
	Yield(ctx context.Context) error
}

// Store is what is needed of store.Store.
type Store interface {
	API(ctx context.Context, idOrName string) (store.API, error)
	CreateAPI(ctx context.Context, a store.API) (store.API, error)
	AddVersion(ctx context.Context, v store.Version) (store.Version, error)
	Version(ctx context.Context, apiID string, number int) (store.Version, error)
	FindVersions(ctx context.Context, f store.VersionFilter) ([]store.VersionSummary, error)
	Activate(ctx context.Context, apiID string, number int) error
}

// Deployer is deploy.Deployer.
type Deployer interface {
	Deploy(ctx context.Context, r deploy.Request) (deploy.Result, error)
	Delete(ctx context.Context, idOrName string, checks ...store.Check[store.API]) (store.API, error)
}

// Config is what a Follower needs. All but Every, Grace and Log is required.
type Config struct {
	Rows     Rows
	Store    Store
	Deployer Deployer
	End      func(ctx context.Context, apiID string) error // ends what runs of an API
	Every    time.Duration                                 // between looks when nobody says that rows changed; default 5 s
	Grace    time.Duration                                 // for which most rows are missing before they count as gone; default 1 h
	Log      *zap.Logger
}

// Follower follows the rows. Make one with New; Start and Stop it once.
type Follower struct {
	Config
	cancel context.CancelFunc
	work   sync.WaitGroup
	slots  chan struct{}
	again  chan struct{} // a row's turn ended

	mu       sync.Mutex
	marks    map[string]string         // of the rows that were looked at; nil: none were, everything is to be compared
	followed map[string]store.Followed // as in the table, while this node leads
	busy     map[string]bool           // rows whose turn it is

	absence absence
	pauses  map[string]pause // of rows whose turn failed
}

// New returns a Follower. It does no I/O.
func New(c Config) *Follower {
	if c.Every <= 0 {
		c.Every = defaultEvery
	}
	if c.Grace <= 0 {
		c.Grace = defaultGrace
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return &Follower{
		Config: c, slots: make(chan struct{}, mostDeploys), again: make(chan struct{}, 1), busy: map[string]bool{}, pauses: map[string]pause{},
	}
}

// Start takes over what is there and goes on following until Stop. Its error is the store's.
func (f *Follower) Start(ctx context.Context) error {
	life, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	if err := f.look(ctx, life, true); err != nil {
		cancel()
		return fmt.Errorf("take over the rows of table apis: %w", err)
	}
	f.work.Go(func() { f.follow(life) })
	return nil
}

// Stop gives up deploys under way, which the next start does again, and waits. It may be called without a Start.
func (f *Follower) Stop(ctx context.Context) error {
	if f.cancel == nil {
		return nil
	}
	f.cancel()
	f.work.Wait()
	if err := f.Rows.Yield(ctx); err != nil && !errors.Is(err, store.ErrUnavailable) {
		return err
	}
	return nil
}

func (f *Follower) follow(ctx context.Context) {
	timer := time.NewTimer(f.Every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.Rows.Changed():
		case <-f.again:
		case <-timer.C:
		}
		err := f.look(ctx, ctx, false)
		if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable) { // the store says that it is away
			f.Log.Warn("the rows of table apis cannot be followed", zap.Error(err))
		}
		timer.Reset(f.Every)
	}
}

// look compares the rows with what was taken over, and gives a turn to each that changed. life is how long a turn may last.
func (f *Follower) look(ctx, life context.Context, first bool) error {
	step, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	lead, err := f.Rows.Lead(step)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !lead {
		f.marks = nil
		return nil
	}
	marks, all, err := f.Rows.Marks(step)
	if err != nil {
		return err
	}
	begins := f.marks == nil
	if begins {
		if f.followed, err = f.Rows.Followed(step); err != nil {
			return err
		}
		f.marks, f.pauses, f.absence = map[string]string{}, map[string]pause{}, absence{hidden: f.absence.hidden}
	}
	f.goneLocked(life, marks, all, begins)
	var changed []string
	for id, mark := range marks {
		if f.marks[id] != mark && !f.busy[id] {
			changed = append(changed, id)
		}
	}
	for ids := range slices.Chunk(changed, readAtOnce) {
		if lead, err := f.partLocked(ctx, life, ids, marks, first); err != nil || !lead {
			return err
		}
	}
	return nil
}

// partLocked compares some rows, in a time of its own and with the lease renewed, because at a first start there may be any number. It
// reports whether this node still leads.
func (f *Follower) partLocked(ctx, life context.Context, ids []string, marks map[string]string, first bool) (lead bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if lead, err = f.Rows.Lead(ctx); err != nil {
		return false, err
	}
	if !lead {
		f.marks = nil
		return false, nil
	}
	rows, err := f.Rows.Read(ctx, ids)
	if err != nil {
		return true, err
	}
	for _, row := range rows {
		if err := f.compareLocked(ctx, life, row, marks[row.ID], first); err != nil {
			return true, err
		}
	}
	return true, nil
}

func (f *Follower) compareLocked(ctx, life context.Context, row store.Row, mark string, first bool) error {
	old, known := f.followed[row.ID]
	switch {
	case f.waitsLocked(row.ID, row.Stamp): // it is looked at again until it has its turn
		return nil
	case old.Stamp == row.Stamp:
	case first && !known && row.Active && usableID(row.ID) == nil && request(row, store.Version{}, "").Check() == nil:
		done, err := f.inherit(ctx, row)
		if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrInvalid) { // it is about this row: the others and the start go on
			done, err = false, nil
		}
		if err != nil {
			return err
		}
		if !done {
			f.turnLocked(life, row.ID, row.Stamp, f.replace)
		}
	default:
		f.turnLocked(life, row.ID, row.Stamp, f.replace)
	}
	f.marks[row.ID] = mark
	return nil
}

// turnLocked runs do in the background, for a row with that content. One whose turn failed for a reason of ours gets another, after a pause.
func (f *Follower) turnLocked(life context.Context, id, stamp string, do func(context.Context, string) error) {
	f.busy[id] = true
	f.work.Go(func() {
		err := life.Err()
		select {
		case f.slots <- struct{}{}:
			err = do(life, id)
			<-f.slots
		case <-life.Done():
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.busy, id)
		if err == nil {
			delete(f.pauses, id)
			select {
			case f.again <- struct{}{}: // it may have changed meanwhile
			default:
			}
			return
		}
		delete(f.marks, id)
		if life.Err() == nil {
			f.pauseLocked(id, stamp, err)
		}
	})
}

// take notes what became of a row. What is done is noted even when the server is stopping, or it would be done again.
func (f *Follower) take(ctx context.Context, row store.Row, problem string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	note := store.Followed{Stamp: row.Stamp, Problem: problem}
	if err := f.Rows.Take(ctx, row.ID, note); err != nil {
		return err
	}
	f.note(row.ID, note)
	return nil
}

func (f *Follower) note(id string, note store.Followed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.followed[id] = note
}
