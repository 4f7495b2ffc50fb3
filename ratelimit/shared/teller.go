package shared

import (
	"context"
	"time"

	"go.uber.org/zap"

	"apibuilder/ratelimit"
)

const (
	mostAsks   = 256             // in one call
	askTimeout = 5 * time.Second // longer than anybody waits: a late answer says that the bank is back
	retryEvery = time.Second     // while the bank is away
	sweepEvery = 10 * time.Second
	sweepMost  = 1000             // pools that are looked at while everybody waits
	aloneKept  = 10 * time.Minute // what was counted without the bank, in case it goes away again
)

// Start begins to ask the bank. It does no I/O itself.
func (l *Limiter) Start(context.Context) error {
	life, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.work.Go(func() { l.tell(life) })
	return nil
}

// Stop gives up questions under way; what is asked after it is decided without the bank. It may be called twice and without a
// Start.
func (l *Limiter) Stop(context.Context) error {
	if l.cancel == nil {
		return nil
	}
	l.cancel()
	l.work.Wait()
	l.cancel = nil
	return nil
}

// tell asks the bank for all pools that wait, again and again. What comes meanwhile is asked for together.
func (l *Limiter) tell(ctx context.Context) {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			l.mu.Lock()
			l.giveUpLocked()
			l.mu.Unlock()
			return
		case <-sweep.C:
			l.sweep()
		case <-l.wake:
			for l.askBank(ctx) {
			}
		}
	}
}

// askLocked has the bank asked for more permits of a pool, not too often while it is away.
func (l *Limiter) askLocked(p *pool) {
	if p.queued || l.away && l.now() < l.nextTry {
		return
	}
	p.queued = true
	l.asking = append(l.asking, p)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// askBank asks once, and reports whether more wait.
func (l *Limiter) askBank(ctx context.Context) bool {
	l.mu.Lock()
	batch := l.asking[:min(len(l.asking), mostAsks)]
	l.asking = l.asking[len(batch):]
	now := l.now()
	asks := make([]Ask, 0, len(batch))
	for _, p := range batch {
		asks = append(asks, p.ask(now))
	}
	l.mu.Unlock()
	if len(asks) == 0 {
		return false
	}
	bounded, cancel := context.WithTimeout(ctx, askTimeout)
	sent := l.now() // before anything leaves: the leases' time begins here
	grants, err := l.bank.Lease(bounded, asks)
	cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	now = l.now()
	for i, p := range batch {
		if err == nil {
			p.grant(asks[i], grants[i], sent, now)
		}
		p.answer()
	}
	switch {
	case err != nil && ctx.Err() == nil:
		l.bankIsAwayLocked(err.Error())
	case err == nil && l.away:
		l.away, l.backAt = false, now
		l.log.Info("limits are counted over all nodes again")
	}
	return len(l.asking) > 0 && ctx.Err() == nil
}

func (l *Limiter) bankIsAway(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bankIsAwayLocked(why)
}

// bankIsAwayLocked has nobody wait for the bank until it has answered again.
func (l *Limiter) bankIsAwayLocked(why string) {
	l.nextTry = l.now() + retryEvery
	if l.away {
		return
	}
	l.giveUpLocked()
	instead := "this node enforces limits by itself"
	if l.refuse {
		instead = "requests with a limit are refused"
	}
	l.log.Warn("limits cannot be counted over all nodes; until they can, "+instead, zap.String("reason", why))
}

// giveUpLocked wakes who waits. The next request asks again.
func (l *Limiter) giveUpLocked() {
	l.away = true
	for _, p := range l.asking {
		p.answer()
	}
	l.asking = nil
}

// sweep forgets pools that nobody uses.
func (l *Limiter) sweep() {
	for dropped := sweepMost; dropped > sweepMost/4; {
		dropped = 0
		l.mu.Lock()
		now, looked := l.now(), 0
		if !l.away && now-l.backAt > aloneKept && l.alone.Len() > 0 {
			l.alone = ratelimit.New(nil)
		}
		for n, p := range l.pools { // in an order that differs each time
			if p.idle(now) {
				delete(l.pools, n)
				dropped++
			}
			if looked++; looked == sweepMost {
				break
			}
		}
		l.mu.Unlock()
	}
}
