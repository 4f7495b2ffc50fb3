package node_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"apibuilder/node"
	"apibuilder/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAnIdentityStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node")
	first, err := node.Identity(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := node.Identity(path); err != nil || again != first || !strings.HasPrefix(first, "node_") {
		t.Errorf("%q and then %q, %v", first, again, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := os.WriteFile(path, []byte("node_a'; DROP TABLE"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Identity(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error is %v", err)
	}
}

// registry counts.
type registry struct {
	mu      sync.Mutex
	beats   int
	removed []string
	err     error
}

func (r *registry) BeatNode(context.Context, store.Node) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.beats++
	return r.err
}

func (r *registry) RemoveNode(_ context.Context, id string) error {
	r.removed = append(r.removed, id)
	return r.err
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{}
		h := node.NewHeartbeat(store.Node{ID: "node_a"}, func() []string { return []string{"k2", "k1"} }, r, zap.NewNop())
		if err := h.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(21 * time.Second)
		r.mu.Lock()
		if r.beats != 5 {
			t.Errorf("%d beats", r.beats)
		}
		r.err = store.ErrUnavailable
		r.mu.Unlock()
		for range 2 {
			if err := h.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if len(r.removed) != 1 || r.removed[0] != "node_a" {
			t.Errorf("removed %q", r.removed)
		}
	})
}
