package cli

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestManyWhoAskForReadinessAskTheStoreOnce: they need no key, and the database has few connections.
func TestManyWhoAskForReadinessAskTheStoreOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		var away atomic.Bool
		p := pulse{ping: func(ctx context.Context) error {
			asked.Add(1)
			time.Sleep(100 * time.Millisecond)
			if away.Load() {
				return errors.New("away")
			}
			return ctx.Err()
		}}
		flood := func() (failed int32) {
			var all sync.WaitGroup
			var errs atomic.Int32
			for range 100 {
				all.Go(func() {
					if p.look(t.Context()) != nil {
						errs.Add(1)
					}
				})
			}
			all.Wait()
			return errs.Load()
		}
		if failed := flood(); failed != 0 || asked.Load() != 1 {
			t.Errorf("%d were told that the store is away; it was asked %d times", failed, asked.Load())
		}
		away.Store(true)
		if failed := flood(); failed != 0 || asked.Load() != 1 {
			t.Errorf("at once: %d were told that the store is away; it was asked %d times", failed, asked.Load())
		}
		time.Sleep(pulseAge)
		if failed := flood(); failed != 100 || asked.Load() != 2 {
			t.Errorf("later: %d were told that the store is away; it was asked %d times", failed, asked.Load())
		}
	})
}

// TestWhoLeavesTellsNobodyThatTheStoreIsAway although he was the first to ask.
func TestWhoLeavesTellsNobodyThatTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pulse{ping: func(ctx context.Context) error {
			time.Sleep(100 * time.Millisecond)
			return ctx.Err()
		}}
		gone, leave := context.WithCancel(t.Context())
		go func() { _ = p.look(gone) }()
		synctest.Wait()
		leave()
		if err := p.look(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(pulseAge)
		go func() { _ = p.look(t.Context()) }()
		synctest.Wait()
		if err := p.look(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		time.Sleep(pulseAge) // he has ended
	})
}
