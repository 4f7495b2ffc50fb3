package shared_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"apibuilder/ratelimit/shared"
)

// bank is shared.Bank's contract in a few lines. Beside it are the faults of a network.
type bank struct {
	mu     sync.Mutex
	now    func() int64 // nanoseconds
	full   map[string]int64
	asks   int
	given  int64
	faults func() (before, after time.Duration, lost, down bool)
}

func newBank() *bank {
	start := time.Now()
	return &bank{now: func() int64 { return int64(time.Since(start)) }, full: map[string]int64{}}
}

func (b *bank) Lease(ctx context.Context, asks []shared.Ask) ([]shared.Grant, error) {
	var before, after time.Duration
	var lost, down bool
	if b.faults != nil {
		before, after, lost, down = b.faults()
	}
	if down {
		return nil, errors.New("connection refused")
	}
	if err := wait(ctx, before); err != nil {
		return nil, err
	}
	grants := b.lease(asks)
	if err := wait(ctx, after); err != nil {
		return nil, err
	}
	if lost {
		return nil, errors.New("connection reset")
	}
	return grants, nil
}

func wait(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (b *bank) lease(asks []shared.Ask) (grants []shared.Grant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range asks {
		now := b.now()
		b.asks++
		window := a.Burst * int64(a.Step)
		full := min(b.full[a.Name], now+window+int64(shared.LongestValid))
		there := func() int64 {
			if full <= now {
				return a.Burst
			}
			return max(0, (now+window-full)/int64(a.Step))
		}
		g := shared.Grant{Granted: min(a.Want, there())}
		if g.Granted > 0 {
			full = max(full, now+int64(a.Valid)) + g.Granted*int64(a.Step)
		}
		b.full[a.Name], b.given = full, b.given+g.Granted
		if g.Left = there(); g.Left == 0 {
			g.Retry = time.Duration(full + int64(a.Step) - window - now)
		}
		g.Full = time.Duration(max(full-now, 0))
		grants = append(grants, g)
	}
	return grants
}

// badNetwork delays, loses and refuses at random.
func badNetwork(rng *rand.Rand) func() (before, after time.Duration, lost, down bool) {
	var mu sync.Mutex
	return func() (before, after time.Duration, lost, down bool) {
		mu.Lock()
		defer mu.Unlock()
		before, after = time.Duration(rng.Int64N(int64(5*time.Millisecond))), time.Duration(rng.Int64N(int64(5*time.Millisecond)))
		switch rng.IntN(20) {
		case 0:
			after = time.Duration(rng.Int64N(int64(3 * time.Second))) // it comes when the lease has ended, or nearly
		case 1:
			before = time.Duration(rng.Int64N(int64(3 * time.Second)))
		case 2:
			lost = true
		case 3:
			down = true
		}
		return before, after, lost, down
	}
}

func (b *bank) asked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asks
}
