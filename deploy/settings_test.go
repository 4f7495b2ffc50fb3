package deploy_test

import (
	"errors"
	"sync"
	"testing"

	"apibuilder/deploy"
	"apibuilder/store"
)

// setQuota is what somebody else does to an API's settings meanwhile.
func (f *fixture) setQuota(t *testing.T, id string, quota int64) {
	t.Helper()
	_, err := f.store.ChangeAPI(t.Context(), id, func(now store.API) (store.API, error) {
		now.Options.Quota = quota
		return now, nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestADeployKeepsWhatChangedMeanwhile changes settings while the environment is built.
func TestADeployKeepsWhatChangedMeanwhile(t *testing.T) {
	f := newFixture(t)
	id := f.mustDeploy(t, request("kept", "one")).API.ID
	f.builder.enter = func() { f.setQuota(t, id, 7) }
	yes := true
	r := request("kept", "two")
	r.Public, r.Options = &yes, map[string]string{"max-requests": "5"}
	result := f.mustDeploy(t, r)
	api, err := f.store.API(t.Context(), id)
	if err != nil || api.Options.Quota != 7 || api.Options.MaxRequests != 5 || !api.Public {
		t.Errorf("%+v, %v", api, err)
	}
	if result.API.Options.Quota != 7 {
		t.Errorf("the result has quota %d", result.API.Options.Quota)
	}
}

// TestADeployThatFailsTakesBackItsOwnSettingsAlone fails in the commit, after somebody else changed something too.
func TestADeployThatFailsTakesBackItsOwnSettingsAlone(t *testing.T) {
	f := newFixture(t)
	id := threeVersions(t, f)
	f.mustSplit(t, id, shares(3, 10, 2, 90))
	f.builder.enter = func() { f.setQuota(t, id, 7) }
	f.store.ready = errors.New("the disk is full")
	yes := true
	r := request("split", "four")
	r.Public, r.Options = &yes, map[string]string{"max-requests": "5"}
	if _, err := f.Deploy(t.Context(), r); err == nil {
		t.Fatal("it succeeded")
	}
	api, err := f.store.API(t.Context(), id)
	if err != nil || api.Public || api.Options.MaxRequests != 0 || api.Options.Quota != 7 {
		t.Errorf("%+v, %v", api, err)
	}
	if got := store.SharesText(api.Split()); got != "v2=90 v3=10" {
		t.Errorf("the split is %q", got)
	}
}

// TestTrafficBesideSettings moves the traffic while somebody changes settings, again and again: neither is lost.
func TestTrafficBesideSettings(t *testing.T) {
	f := newFixture(t)
	id := threeVersions(t, f)
	for i := 1; i <= 100; i++ {
		var both sync.WaitGroup
		both.Go(func() { f.setQuota(t, id, int64(i)) })
		both.Go(func() {
			if _, err := f.Traffic(t.Context(), id, shares(3, i, 2, 1)); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		api, err := f.store.API(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if split := api.Split(); api.Options.Quota != int64(i) || len(split) != 2 || split[1].Weight != i {
			t.Fatalf("after round %d: quota %d, split %+v", i, api.Options.Quota, split)
		}
	}
}

// TestWhatIsNotAsExpectedStays has checks refuse each change of an API.
func TestWhatIsNotAsExpectedStays(t *testing.T) {
	f := newFixture(t)
	id := threeVersions(t, f)
	before, err := f.store.API(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	no := errors.New("no")
	refuse := store.Check[store.API](func(now store.API) error {
		if now.ActiveVersion != 3 {
			t.Errorf("the check sees %+v", now)
		}
		return no
	})
	for what, do := range map[string]func(*deploy.Deployer) (store.API, error){
		"Delete":   func(d *deploy.Deployer) (store.API, error) { return d.Delete(t.Context(), id, refuse) },
		"Rollback": func(d *deploy.Deployer) (store.API, error) { return d.Rollback(t.Context(), id, 1, refuse) },
		"Promote":  func(d *deploy.Deployer) (store.API, error) { return d.Promote(t.Context(), id, 2, refuse) },
		"Traffic": func(d *deploy.Deployer) (store.API, error) {
			return d.Traffic(t.Context(), id, shares(3, 10, 2, 90), refuse)
		},
	} {
		if _, err := do(f.Deployer); !errors.Is(err, no) {
			t.Errorf("%s: error is %v", what, err)
		}
	}
	if after, err := f.store.API(t.Context(), id); err != nil || after.UpdatedAt != before.UpdatedAt || after.ActiveVersion != 3 {
		t.Errorf("%+v, %v", after, err)
	}
}
