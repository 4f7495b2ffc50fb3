package gateway

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"apibuilder/store"
)

// hostTable remembers which host names are mapped to which APIs, all of them, so that made-up names cost no read. A change
// in the store makes it old: the next question reads it again, at once for all who ask. While the store cannot be read, what
// was known counts. Safe for concurrent use.
type hostTable struct {
	store  Store
	loads  singleflight.Group
	cancel func()

	mu         sync.RWMutex
	generation uint64
	fresh      bool              // ids are of this generation
	ids        map[string]string // nil: never read
	away       time.Time         // the store failed lately: until then, old ids are good enough
}

func newHostTable(st Store) *hostTable {
	t := &hostTable{store: st}
	t.cancel = st.Subscribe(t.changed)
	return t
}

func (t *hostTable) close() {
	if t != nil {
		t.cancel()
	}
}

func (t *hostTable) changed(store.Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.generation++
	t.fresh = false
}

// find returns the id of the API that a name is mapped to, empty for none. Errors: errStore, the context's.
func (t *hostTable) find(ctx context.Context, name string) (string, error) {
	t.mu.RLock()
	id, known := t.ids[name], t.ids != nil
	good := t.fresh || known && time.Now().Before(t.away)
	generation := t.generation
	t.mu.RUnlock()
	if good {
		return id, nil
	}
	wait := loadTimeout
	if known {
		wait = staleWait
	}
	waitCtx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	ids, err := t.load(waitCtx, generation)
	switch {
	case err == nil:
		return ids[name], nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case !known:
		return "", fmt.Errorf("%w: hosts: %w", errStore, err)
	}
	t.mu.Lock()
	t.away = time.Now().Add(staleRetry)
	t.mu.Unlock()
	return id, nil
}

// load reads the table once for all who ask in the same generation, whoever of them gives up.
func (t *hostTable) load(ctx context.Context, generation uint64) (map[string]string, error) {
	result := t.loads.DoChan(strconv.FormatUint(generation, 10), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
		defer cancel()
		ids, err := t.store.Hosts(ctx)
		if err != nil {
			return nil, err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.generation == generation {
			t.ids, t.fresh = ids, true
		}
		return ids, nil
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(map[string]string), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
