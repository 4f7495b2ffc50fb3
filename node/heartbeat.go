package node

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"apibuilder/store"
)

const (
	beatEvery   = 5 * time.Second
	beatTimeout = 10 * time.Second
)

// Registry is what is needed of store.Store.
type Registry interface {
	BeatNode(ctx context.Context, n store.Node) error
	RemoveNode(ctx context.Context, id string) error
}

// Heartbeat tells the store every five seconds that a node lives. Make one with NewHeartbeat; Start and Stop it once.
type Heartbeat struct {
	node     store.Node
	keys     func() []string // nil: it does not say
	registry Registry
	log      *zap.Logger
	cancel   context.CancelFunc
	work     sync.WaitGroup
}

// NewHeartbeat returns the heartbeat of n. Each time it asks keys, which may be nil, for the names of the keys that the node has. It does
// no I/O.
func NewHeartbeat(n store.Node, keys func() []string, r Registry, log *zap.Logger) *Heartbeat {
	return &Heartbeat{node: n, keys: keys, registry: r, log: log}
}

// says is what the node says of itself now.
func (h *Heartbeat) says() store.Node {
	n := h.node
	if h.keys != nil {
		n.Keys = strings.Join(h.keys(), " ")
	}
	return n
}

// Start returns once the store knows the node. Its error is the store's.
func (h *Heartbeat) Start(ctx context.Context) error {
	h.node.StartedAt = time.Now()
	if err := h.registry.BeatNode(ctx, h.says()); err != nil {
		return err
	}
	life, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	h.work.Go(func() { h.beat(life) })
	return nil
}

func (h *Heartbeat) beat(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		bounded, cancel := context.WithTimeout(ctx, beatTimeout)
		err := h.registry.BeatNode(bounded, h.says())
		cancel()
		if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable) { // the store says that it is away
			h.log.Warn("the database does not take the node's heartbeat", zap.Error(err))
		}
	}
}

// Halt ends the heartbeat and leaves the node on the list, because another process goes on as the same node.
func (h *Heartbeat) Halt() {
	if h.cancel != nil {
		h.cancel()
		h.work.Wait()
		h.cancel = nil
	}
}

// Stop takes the node off the list. A store that is away is no error: it forgets the node by itself. It may be called twice
// and without a Start.
func (h *Heartbeat) Stop(ctx context.Context) error {
	if h.cancel == nil {
		return nil
	}
	h.Halt()
	if err := h.registry.RemoveNode(ctx, h.node.ID); err != nil && !errors.Is(err, store.ErrUnavailable) {
		return err
	}
	return nil
}
