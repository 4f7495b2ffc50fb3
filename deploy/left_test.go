package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/deploy"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// leavingStore goes away in the middle of a deploy, at a step, and stays away until it is told to come back.
type leavingStore struct {
	store.Store
	step string
	once sync.Once
	away atomic.Bool
}

func (s *leavingStore) at(step string) error {
	if s.step == step {
		s.once.Do(func() { s.away.Store(true) })
	}
	if s.away.Load() {
		return fmt.Errorf("%s: %w", step, store.ErrUnavailable)
	}
	return nil
}

func (s *leavingStore) API(ctx context.Context, ref string) (store.API, error) {
	if err := s.at("read"); err != nil {
		return store.API{}, err
	}
	return s.Store.API(ctx, ref)
}

func (s *leavingStore) CreateAPI(ctx context.Context, a store.API) (store.API, error) {
	made, err := s.Store.CreateAPI(ctx, a)
	return made, errors.Join(err, s.at("create"))
}

func (s *leavingStore) AddVersion(ctx context.Context, v store.Version) (store.Version, error) {
	if err := s.at("add"); err != nil {
		return store.Version{}, err
	}
	return s.Store.AddVersion(ctx, v)
}

func (s *leavingStore) UpdateVersion(ctx context.Context, v store.Version) error {
	if err := s.at("update"); err != nil {
		return err
	}
	return s.Store.UpdateVersion(ctx, v)
}

func (s *leavingStore) Activate(ctx context.Context, api string, number int) error {
	err := s.at("before activation")
	if err == nil {
		err = errors.Join(s.Store.Activate(ctx, api, number), s.at("activated"))
	}
	return err
}

func (s *leavingStore) ChangeAPI(ctx context.Context, id string, change func(store.API) (store.API, error)) (store.API, error) {
	if err := s.at("change"); err != nil {
		return store.API{}, err
	}
	return s.Store.ChangeAPI(ctx, id, change)
}

func (s *leavingStore) AbandonAPI(ctx context.Context, id string, number int) (bool, error) {
	if err := s.at("abandon"); err != nil {
		return false, err
	}
	return s.Store.AbandonAPI(ctx, id, number)
}

// undoing starts what undoes deploys when the store is back, until the test ends.
func undoing(t *testing.T, d *deploy.Deployer) {
	t.Helper()
	d.SetNode("node_a")
	follower := deploy.NewFollower(d, deploy.Own{
		Serving: func(string) []int { return nil }, Look: func(string) {},
		End: func(context.Context, string) error { return nil }, Forget: func(context.Context, string) error { return nil },
	}, nil)
	if err := follower.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = follower.Stop(context.Background()) })
}

// TestAFirstDeployIsUndoneWhenTheStoreIsBack, or its name would be taken with nothing there.
func TestAFirstDeployIsUndoneWhenTheStoreIsBack(t *testing.T) {
	for _, step := range []string{"create", "add", "update", "before activation", "activated"} {
		t.Run(step, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				st := &leavingStore{Store: f.store.Store, step: step}
				d := deploy.New(st, f.builder, &sandboxes{serving: map[string]sandbox.Spec{}}, deploy.Policy{})
				undoing(t, d)
				if _, err := d.Deploy(t.Context(), request("first", "code")); !errors.Is(err, store.ErrUnavailable) {
					t.Fatalf("the deploy: %v", err)
				}
				time.Sleep(5 * time.Minute)
				st.away.Store(false)
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				api, err := st.API(t.Context(), "first")
				if step != "activated" {
					if !errors.Is(err, store.ErrNotFound) {
						t.Errorf("what is there: %+v, %v", api, err)
					}
					return
				}
				if v, err := st.Version(t.Context(), api.ID, 1); err != nil || api.ActiveVersion != 1 || v.State != store.VersionReady {
					t.Errorf("version %d is active: %+v, %v", api.ActiveVersion, v, err)
				}
			})
		})
	}
}

// TestSettingsOfAFailedDeployAreTakenBackWhenTheStoreIsBack, or an API would be open although the deploy that asked for it has failed.
func TestSettingsOfAFailedDeployAreTakenBackWhenTheStoreIsBack(t *testing.T) {
	for step, public := range map[string]bool{"before activation": false, "activated": true} {
		t.Run(step, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				st := &leavingStore{Store: f.store.Store}
				d := deploy.New(st, f.builder, &sandboxes{serving: map[string]sandbox.Spec{}}, deploy.Policy{})
				undoing(t, d)
				if _, err := d.Deploy(t.Context(), request("closed", "one")); err != nil {
					t.Fatal(err)
				}
				st.step = step
				yes := true
				r := request("closed", "two")
				r.Public, r.Options = &yes, map[string]string{"max-requests": "5"}
				if _, err := d.Deploy(t.Context(), r); !errors.Is(err, store.ErrUnavailable) {
					t.Fatalf("the deploy: %v", err)
				}
				time.Sleep(5 * time.Minute)
				st.away.Store(false)
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				api, err := st.API(t.Context(), "closed")
				if err != nil || api.Public != public || (api.Options.MaxRequests == 5) != public || (api.ActiveVersion == 2) != public {
					t.Errorf("%+v, %v", api, err)
				}
			})
		})
	}
}

// TestTheNextDeployFindsNoSettingsOfAFailedOne, also where it comes before anything else that undoes.
func TestTheNextDeployFindsNoSettingsOfAFailedOne(t *testing.T) {
	f := newFixture(t)
	st := &leavingStore{Store: f.store.Store}
	d := deploy.New(st, f.builder, &sandboxes{serving: map[string]sandbox.Spec{}}, deploy.Policy{})
	if _, err := d.Deploy(t.Context(), request("closed", "one")); err != nil {
		t.Fatal(err)
	}
	st.step = "before activation"
	yes := true
	r := request("closed", "two")
	r.Public = &yes
	if _, err := d.Deploy(t.Context(), r); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("the deploy: %v", err)
	}
	st.step = ""
	st.away.Store(false)
	if _, err := d.Deploy(t.Context(), request("closed", "three")); err != nil {
		t.Fatal(err)
	}
	if api, err := st.API(t.Context(), "closed"); err != nil || api.Public || api.ActiveVersion != 3 {
		t.Errorf("%+v, %v", api, err)
	}
}
