package storetest

import (
	"sync"
	"testing"
	"time"

	"apibuilder/store"
)

var nodeTests = map[string]func(*testing.T, store.Store){
	"they come, live and go":                  nodeLife,
	"a node that is not valid":                nodeRefused,
	"what another activated stays":            nodeReactivate,
	"an API that another deploys too stays":   nodeAbandon,
	"an API is abandoned or gets versions":    nodeAbandonRace,
	"what a node says of itself is no change": nodeNoChange,
}

func nodeLife(t *testing.T, s store.Store) {
	ctx := t.Context()
	same(t, "Nodes", get(s.Nodes(ctx))(t), []store.Node{})
	b := store.Node{ID: "node_b", Name: "b", Version: "1.2", Address: "192.0.2.1:80", Keys: "k1 k2", StartedAt: day}
	a := store.Node{ID: "node_a", Name: "a"}
	check(t, s.BeatNode(ctx, b))
	check(t, s.BeatNode(ctx, a))
	all := get(s.Nodes(ctx))(t)
	same(t, "nodes", len(all), 2)
	for i, want := range []store.Node{a, b} {
		got := all[i]
		recent(t, "SeenAt", got.SeenAt)
		if got.Silent < 0 || got.Silent > time.Minute {
			t.Errorf("silent for %v", got.Silent)
		}
		if want.StartedAt.IsZero() {
			recent(t, "StartedAt", got.StartedAt)
			got.StartedAt = time.Time{}
		}
		got.SeenAt, got.Silent = time.Time{}, 0
		same(t, "node", got, want)
	}
	b.Version, b.Keys = "1.3", "k3 k1"
	check(t, s.BeatNode(ctx, b))
	again := get(s.Nodes(ctx))(t)
	same(t, "Version", again[1].Version, "1.3")
	same(t, "Keys", again[1].Keys, "k3 k1")
	if again[1].SeenAt.Before(all[1].SeenAt) || again[0].Silent < all[0].Silent {
		t.Errorf("seen at %v and then %v", all, again)
	}
	check(t, s.RemoveNode(ctx, "node_b"))
	check(t, s.RemoveNode(ctx, "node_b"))
	same(t, "nodes", len(get(s.Nodes(ctx))(t)), 1)
}

func nodeRefused(t *testing.T, s store.Store) {
	refused(t, s.BeatNode(t.Context(), store.Node{Name: "a"}), store.ErrInvalid, "node id")
	refused(t, s.BeatNode(t.Context(), store.Node{ID: "node_a", Name: "\xff"}), store.ErrInvalid, "node name")
}

func nodeNoChange(t *testing.T, s store.Store) {
	var f feed
	defer s.Subscribe(f.add)()
	check(t, s.BeatNode(t.Context(), store.Node{ID: "node_a", Name: "a"}))
	check(t, s.RemoveNode(t.Context(), "node_a"))
	same(t, "changes", len(f.take()), 0)
}

func nodeReactivate(t *testing.T, s store.Store) {
	ctx := t.Context()
	a := makeAPI(t, s, "resize")
	for range 3 {
		makeVersion(t, s, a.ID)
	}
	check(t, s.Activate(ctx, a.ID, 2))
	check(t, s.Activate(ctx, a.ID, 3))
	same(t, "from 2", get(s.Reactivate(ctx, a.ID, 2, 1))(t), false)
	same(t, "active", get(s.API(ctx, a.ID))(t).ActiveVersion, 3)
	same(t, "from 3", get(s.Reactivate(ctx, a.ID, 3, 1))(t), true)
	same(t, "active", get(s.API(ctx, a.ID))(t).ActiveVersion, 1)
	same(t, "to none", get(s.Reactivate(ctx, a.ID, 1, 0))(t), true)
	same(t, "active", get(s.API(ctx, a.ID))(t).ActiveVersion, 0)
	check(t, s.Activate(ctx, a.ID, 1))
	_, err := s.Reactivate(ctx, "api_nobody", 1, 2)
	refused(t, err, store.ErrNotFound, "api_nobody")
	_, err = s.Reactivate(ctx, a.ID, 1, 9)
	refused(t, err, store.ErrNotFound, a.ID)
}

func nodeAbandon(t *testing.T, s store.Store) {
	ctx := t.Context()
	a := makeAPI(t, s, "resize")
	makeVersion(t, s, a.ID)
	makeVersion(t, s, a.ID)
	same(t, "two versions", get(s.AbandonAPI(ctx, a.ID, 1))(t), false)
	b := makeAPI(t, s, "other")
	makeVersion(t, s, b.ID)
	check(t, s.Activate(ctx, b.ID, 1))
	same(t, "it serves", get(s.AbandonAPI(ctx, b.ID, 1))(t), false)
	c := makeAPI(t, s, "third")
	makeVersion(t, s, c.ID)
	same(t, "one version", get(s.AbandonAPI(ctx, c.ID, 1))(t), true)
	_, err := s.AbandonAPI(ctx, c.ID, 1)
	refused(t, err, store.ErrNotFound, c.ID)
	d := makeAPI(t, s, "fourth")
	same(t, "no version", get(s.AbandonAPI(ctx, d.ID, 0))(t), true)
}

// nodeAbandonRace has one give an API up while another adds a version: either the version is refused, or the API stays.
func nodeAbandonRace(t *testing.T, s store.Store) {
	for range 20 {
		a := makeAPI(t, s, "resize")
		makeVersion(t, s, a.ID)
		var gone bool
		var abandon, add error
		var wg sync.WaitGroup
		wg.Go(func() { gone, abandon = s.AbandonAPI(t.Context(), a.ID, 1) })
		wg.Go(func() { _, add = s.AddVersion(t.Context(), store.Version{APIID: a.ID}) })
		wg.Wait()
		check(t, abandon)
		if gone != (add != nil) {
			t.Fatalf("given up %v, and the other one's version: %v", gone, add)
		}
		if !gone {
			check(t, s.DeleteAPI(t.Context(), a.ID))
		}
	}
}
