package usage

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"apibuilder/store"
)

// egressEvery is how often what was counted is stored: what a killed server loses of it.
const egressEvery = 10 * time.Second

// EgressSums is where counts of outgoing network are kept; store.Store is one.
type EgressSums interface {
	AddEgress(ctx context.Context, b store.EgressBatch) error
}

// Egress brings counts of outgoing network into a store, each once: what was not stored is sent again as it was, and the store
// knows it by its number. Make one with NewEgress. Its methods may be called concurrently.
type Egress struct {
	to     EgressSums
	take   func() []store.EgressUse
	log    *zap.Logger
	source string
	cancel context.CancelFunc
	work   sync.WaitGroup

	turn    chan struct{} // holds one while somebody stores
	number  int64
	pending []store.EgressUse // of the batch with that number; nil: it is stored
	at      time.Time
}

// NewEgress returns one that stores what take returns, which is what was counted since it was called last.
func NewEgress(to EgressSums, take func() []store.EgressUse, log *zap.Logger) *Egress {
	return &Egress{to: to, take: take, log: log, source: rand.Text(), turn: make(chan struct{}, 1)}
}

// Start begins to store; it waits for nothing. It is called once.
func (e *Egress) Start() {
	var ctx context.Context
	ctx, e.cancel = context.WithCancel(context.Background())
	e.work.Go(func() {
		ticker := time.NewTicker(egressEvery)
		defer ticker.Stop()
		failing := false
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			err := e.Flush(ctx)
			if err != nil && ctx.Err() == nil && !failing {
				e.log.Warn("counts of outgoing network wait for the store", zap.Error(err))
			}
			failing = err != nil
		}
	})
}

// Flush stores what was counted until now. It returns the context's error when that ends before its turn has come.
func (e *Egress) Flush(ctx context.Context) error {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return fmt.Errorf("store counts of outgoing network: others are stored before: %w", context.Cause(ctx))
	}
	if e.pending != nil {
		if err := e.hand(ctx); err != nil {
			return err
		}
	}
	if e.pending = e.take(); len(e.pending) == 0 {
		e.pending = nil
		return nil
	}
	e.number++
	e.at = time.Now()
	return e.hand(ctx)
}

func (e *Egress) hand(ctx context.Context) error {
	err := e.to.AddEgress(ctx, store.EgressBatch{Source: e.source, Number: e.number, Time: e.at, Uses: e.pending})
	if err == nil {
		e.pending = nil
	}
	return err
}

// Stop stores what is left and ends. It may be called without a start.
func (e *Egress) Stop(ctx context.Context) error {
	if e.cancel != nil {
		e.cancel()
	}
	e.work.Wait()
	return e.Flush(ctx)
}
