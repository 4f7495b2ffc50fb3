package gateway

import (
	"context"
	"sync"
	"time"
)

// startWait is a context that ends a time after somebody began to wait for it, or with its parent. Nearly every request
// finds its sandbox running and waits for nothing: those cost no timer. stop must be called.
type startWait struct {
	context.Context // the parent
	limit           time.Duration

	mu      sync.Mutex
	waiting context.Context // nil: nobody waits
	cancel  context.CancelFunc
}

// Done implements context.Context.
func (p *startWait) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting, p.cancel = context.WithTimeout(p.Context, p.limit)
	}
	return p.waiting.Done()
}

// Err implements context.Context.
func (p *startWait) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		return p.Context.Err()
	}
	return p.waiting.Err()
}

func (p *startWait) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting != nil {
		p.cancel()
	}
}
