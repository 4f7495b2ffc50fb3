package cli

import (
	"context"
	"sync"
	"time"
)

const (
	pulseAge      = time.Second     // how old an answer may be
	pulsePatience = 2 * time.Second // for an answer
)

// pulse tells whether the store answers. However many ask, the store is asked once a second: who looks for readiness needs no key, and the
// database has few connections, which rate limits and usage need. The zero value asks nobody; set ping. Safe for concurrent use.
type pulse struct {
	ping func(context.Context) error

	mu     sync.Mutex
	asking chan struct{} // closed when who asks has the answer; nil: nobody asks
	at     time.Time     // of the answer
	err    error         // the answer
}

// look returns why the store does not answer, or that ctx has ended.
func (p *pulse) look(ctx context.Context) error {
	p.mu.Lock()
	if p.asking == nil && (p.at.IsZero() || time.Since(p.at) >= pulseAge) {
		p.asking = make(chan struct{})
		p.mu.Unlock()
		return p.ask(ctx)
	}
	asking, err := p.asking, p.err
	p.mu.Unlock()
	if asking == nil {
		return err
	}
	select {
	case <-asking:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// ask asks for all who wait: it does not end with the one who came first.
func (p *pulse) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pulsePatience)
	defer cancel()
	err := p.ping(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.err = time.Now(), err
	close(p.asking)
	p.asking = nil
	return err
}
