package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/deploy"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// node is a second one over the store of another: it has environments and sandboxes of its own.
type node struct {
	*deploy.Deployer
	builder   *builder
	sandboxes *sandboxes
	mu        sync.Mutex
	ended     []string
	forgotten []string
	late      bool // something was forgotten that had not ended
}

// look is what a manager does when it is told of a change, in short: what does not start leaves everything as it was.
func (n *node) look(api string) {
	go func() {
		spec, err := n.Source(context.Background(), api, 0)
		if err == nil {
			err = n.sandboxes.failure()
		}
		n.sandboxes.mu.Lock()
		defer n.sandboxes.mu.Unlock()
		if _, runs := n.sandboxes.serving[api]; err == nil && runs {
			n.sandboxes.serving[api] = spec
		}
	}()
}

func (n *node) end(_ context.Context, api string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended = append(n.ended, api)
	n.sandboxes.mu.Lock()
	defer n.sandboxes.mu.Unlock()
	delete(n.sandboxes.serving, api)
	return nil
}

func (n *node) forget(_ context.Context, api string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forgotten = append(n.forgotten, api)
	n.late = n.late || !slices.Contains(n.ended, api)
	return nil
}

func (n *node) versions(api string) []int {
	if v := n.serving(api); v != 0 {
		return []int{v}
	}
	return nil
}

func (n *node) serving(api string) int {
	n.sandboxes.mu.Lock()
	defer n.sandboxes.mu.Unlock()
	return n.sandboxes.serving[api].Version
}

// gatedStore cannot be read while it is closed.
type gatedStore struct {
	store.Store
	closed atomic.Bool
}

func (s *gatedStore) API(ctx context.Context, ref string) (store.API, error) {
	if s.closed.Load() {
		return store.API{}, fmt.Errorf("read: %w", store.ErrUnavailable)
	}
	return s.Store.API(ctx, ref)
}

// secondNode follows the store of f and runs what it is asked for.
func secondNode(t *testing.T, f *fixture, id string) *node {
	t.Helper()
	n := &node{builder: &builder{known: map[string]bool{}}, sandboxes: &sandboxes{serving: map[string]sandbox.Spec{}}}
	n.Deployer = deploy.New(f.store, n.builder, n.sandboxes, deploy.Policy{})
	n.SetNode(id)
	follower := deploy.NewFollower(n.Deployer, deploy.Own{Serving: n.versions, Look: n.look, End: n.end, Forget: n.forget}, nil)
	if err := follower.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(follower.Stop(context.Background()), follower.Stop(context.Background())); err != nil {
			t.Error(err)
		}
	})
	return n
}

// wake is what a request to an API that does not run does.
func (n *node) wake(t *testing.T, api string) {
	t.Helper()
	spec, err := n.Source(t.Context(), api, 0)
	if err != nil {
		t.Fatal(err)
	}
	n.sandboxes.mu.Lock()
	defer n.sandboxes.mu.Unlock()
	n.sandboxes.serving[api] = spec
}

// following runs a test with two nodes in a bubble, where waiting costs nothing.
func following(t *testing.T, test func(t *testing.T, f *fixture, n *node)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		test(t, f, secondNode(t, f, "node_b"))
	})
}

func settle() {
	time.Sleep(5 * time.Second)
	synctest.Wait()
}

func TestANodeFollowsDeploysAndRollbacksOfAnother(t *testing.T) {
	following(t, func(t *testing.T, f *fixture, n *node) {
		api := f.mustDeploy(t, request("resize", "one")).API
		settle()
		if n.serving(api.ID) != 0 || n.builder.calls != 0 {
			t.Fatal("what nobody called here was started")
		}
		n.wake(t, api.ID)
		r := request("resize", "two")
		r.Requirements = "six"
		f.mustDeploy(t, r)
		settle()
		if v := n.serving(api.ID); v != 2 {
			t.Fatalf("version %d serves", v)
		}
		v, err := f.store.Version(t.Context(), api.ID, 2)
		if err != nil || v.Lock == "" || n.builder.last.Lock != v.Lock {
			t.Fatalf("built from %q, the version's lock is %q", n.builder.last.Lock, v.Lock)
		}
		if _, err := f.Rollback(t.Context(), api.ID, 0); err != nil {
			t.Fatal(err)
		}
		settle()
		if v := n.serving(api.ID); v != 1 {
			t.Fatalf("version %d serves after a rollback", v)
		}
		if _, err := f.Delete(t.Context(), api.ID); err != nil {
			t.Fatal(err)
		}
		settle()
		if !slices.Contains(n.forgotten, api.ID) || n.late {
			t.Fatalf("forgotten is %q, ended %q", n.forgotten, n.ended)
		}
	})
}

// TestAnAPIThatIsTakenOutOfServiceEnds keeps what is not the program's, and starts it when it is back.
func TestAnAPIThatIsTakenOutOfServiceEnds(t *testing.T) {
	following(t, func(t *testing.T, f *fixture, n *node) {
		api := f.mustDeploy(t, request("resize", "one")).API
		n.wake(t, api.ID)
		if _, err := f.store.Reactivate(t.Context(), api.ID, 1, 0); err != nil {
			t.Fatal(err)
		}
		settle()
		if !slices.Equal(n.ended, []string{api.ID}) || len(n.sandboxes.removed) != 0 {
			t.Fatalf("ended %q, removed %q", n.ended, n.sandboxes.removed)
		}
	})
}

// TestWithoutTheStoreNothingChanges and what changed meanwhile is followed when it is back.
func TestWithoutTheStoreNothingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		gate := &gatedStore{Store: f.store.Store}
		n := secondNode(t, &fixture{store: &brokenStore{Store: gate}}, "node_b")
		api := f.mustDeploy(t, request("resize", "one")).API
		n.wake(t, api.ID)
		if _, err := n.Plan(t.Context(), api.ID); err != nil { // as its manager does at a start
			t.Fatal(err)
		}
		gate.closed.Store(true) // for the second node alone, which sees the change and cannot read it
		f.mustDeploy(t, request("resize", "two"))
		time.Sleep(10 * time.Minute)
		if v := n.serving(api.ID); v != 1 {
			t.Fatalf("version %d serves", v)
		}
		gate.closed.Store(false)
		time.Sleep(2 * time.Minute)
		if v := n.serving(api.ID); v != 2 {
			t.Fatalf("version %d serves", v)
		}
	})
}

// TestWhatDoesNotStartHereIsTriedAgain keeps what serves meanwhile.
func TestWhatDoesNotStartHereIsTriedAgain(t *testing.T) {
	following(t, func(t *testing.T, f *fixture, n *node) {
		api := f.mustDeploy(t, request("resize", "one")).API
		n.wake(t, api.ID)
		n.sandboxes.fail(sandbox.ErrNoRoom)
		f.mustDeploy(t, request("resize", "two"))
		settle()
		if v := n.serving(api.ID); v != 1 {
			t.Fatalf("version %d serves", v)
		}
		n.sandboxes.fail(nil)
		time.Sleep(2 * time.Minute)
		if v := n.serving(api.ID); v != 2 {
			t.Fatalf("version %d serves", v)
		}
	})
}

// TestTwoNodesDeployAtOnce has each node deploy the same API again and again: all versions are there, and both nodes end with
// the one that the database calls active.
func TestTwoNodesDeployAtOnce(t *testing.T) {
	following(t, func(t *testing.T, f *fixture, b *node) {
		a := secondNode(t, f, "node_a")
		var wg sync.WaitGroup
		const each = 10
		for _, n := range []*node{a, b} {
			wg.Go(func() {
				for range each {
					if _, err := n.Deploy(t.Context(), request("resize", "code")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		api, err := f.store.API(t.Context(), "resize")
		if err != nil {
			t.Fatal(err)
		}
		versions, err := f.store.FindVersions(t.Context(), store.VersionFilter{APIID: api.ID})
		if err != nil || len(versions) != 2*each {
			t.Fatalf("%d versions, %v", len(versions), err)
		}
		for _, v := range versions {
			if v.State != store.VersionReady || v.Node != "node_a" && v.Node != "node_b" {
				t.Errorf("version %+v", v)
			}
		}
		if a.serving(api.ID) != api.ActiveVersion || b.serving(api.ID) != api.ActiveVersion {
			t.Errorf("active is %d, and %d and %d serve", api.ActiveVersion, a.serving(api.ID), b.serving(api.ID))
		}
	})
}

// TestAFailedFirstDeployLeavesAnotherNodes has two nodes make the same API.
func TestAFailedFirstDeployLeavesAnotherNodes(t *testing.T) {
	f := newFixture(t)
	b := secondNode(t, f, "node_b")
	building, other := make(chan struct{}), make(chan struct{})
	b.builder.enter = func() {
		close(building)
		<-other
		b.builder.err = errors.New("the disk is full")
	}
	failed := make(chan error, 1)
	go func() {
		_, err := b.Deploy(t.Context(), request("resize", "bad"))
		failed <- err
	}()
	<-building
	f.builder.enter = func() { close(other); <-failed }
	result := f.mustDeploy(t, request("resize", "good"))
	if api, err := f.store.API(t.Context(), "resize"); err != nil || api.ActiveVersion != 2 || result.Version != 2 {
		t.Fatalf("%+v, %v", api, err)
	}
	if v, err := f.store.Version(t.Context(), result.API.ID, 1); err != nil || v.State != store.VersionFailed {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestRecoverLeavesOthersDeploys has builds of this node, of a living one, of a silent one and of one without a name.
func TestRecoverLeavesOthersDeploys(t *testing.T) {
	f := newFixture(t)
	f.SetNode("node_me")
	ctx := t.Context()
	api := f.mustDeploy(t, request("resize", "one")).API
	for _, id := range []string{"node_me", "node_lives"} {
		if err := f.store.BeatNode(ctx, store.Node{ID: id, Name: id}); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []store.Version{
		{Node: "node_me"}, {Node: "node_lives"}, {Node: "node_gone"}, {}, {CreatedAt: time.Now().Add(-2 * time.Hour)},
	} {
		v.APIID, v.Code = api.ID, "x"
		if _, err := f.store.AddVersion(ctx, v); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := f.Recover(ctx); n != 3 || err != nil {
		t.Fatalf("recovered %d, %v", n, err)
	}
	left, err := f.store.Building(ctx)
	if err != nil || len(left) != 2 || left[0].Number != 3 || left[1].Number != 5 {
		t.Fatalf("%+v, %v", left, err)
	}
}
