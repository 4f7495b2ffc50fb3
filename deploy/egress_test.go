package deploy_test

import (
	"cmp"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/deploy"
	"apibuilder/egress"
	"apibuilder/sandbox"
	"apibuilder/store"
)

const (
	wide   = "wide.example:443, narrow.example:443"
	narrow = "narrow.example:443"
)

// outside are sandboxes that reach what a gate lets them.
type outside struct {
	*sandboxes
	gate   *egress.Gate
	launch func()        // called before one starts; nil: nothing
	guard  *egress.Guard // of the one that started last
}

func (o *outside) EgressTurn() uint64 { return o.gate.Turn() }

func (o *outside) Replace(
	ctx context.Context, spec sandbox.Spec, commit func(context.Context) error,
) (*sandbox.Instance, error) {
	o.start(spec)
	return o.sandboxes.Replace(ctx, spec, commit)
}

// start binds a guard as the manager does.
func (o *outside) start(spec sandbox.Spec) {
	if o.launch != nil {
		o.launch()
	}
	o.guard = o.gate.Guard()
	o.guard.Bind(spec.API, spec.Egress, cmp.Or(spec.EgressTurn, o.gate.Turn()), nil)
}

// outsideFixture has an API with two versions and the wide policy, and the environment of neither.
func outsideFixture(t *testing.T) (f *fixture, o *outside, api store.API) {
	t.Helper()
	f = newFixture(t)
	o = &outside{sandboxes: f.sandboxes, gate: egress.NewGate(egress.Config{Ceiling: &egress.Ceiling{Most: policy(t, "internet")}})}
	f.Deployer = deploy.New(f.store, f.builder, o, deploy.Policy{})
	r := request("resize", "one")
	r.Options = map[string]string{"egress": wide}
	f.mustDeploy(t, r)
	api = f.mustDeploy(t, request("resize", "two")).API
	clear(f.builder.known)
	return f, o, api
}

func policy(t *testing.T, text string) egress.Policy {
	t.Helper()
	p, err := egress.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// allow changes the API's policy as its owner does: the store says so first.
func (f *fixture) allow(t *testing.T, o *outside, id, text string) {
	t.Helper()
	_, err := f.store.ChangeAPI(t.Context(), id, func(now store.API) (store.API, error) {
		now.Options.Egress = text
		return now, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	o.gate.Set(id, policy(t, text))
}

// TestAPolicyThatIsNarrowedHoldsForWhatIsAboutToStart: the program's first lines run by the policy of now, although the API was read while
// another held.
func TestAPolicyThatIsNarrowedHoldsForWhatIsAboutToStart(t *testing.T) {
	for name, start := range map[string]func(t *testing.T, f *fixture, o *outside, id string) error{
		"deploy": func(t *testing.T, f *fixture, _ *outside, _ string) error {
			_, err := f.Deploy(t.Context(), request("resize", "three"))
			return err
		},
		"rollback": func(t *testing.T, f *fixture, _ *outside, id string) error {
			_, err := f.Rollback(t.Context(), id, 1)
			return err
		},
		"exec": func(t *testing.T, f *fixture, o *outside, id string) error {
			spec, err := f.Source(t.Context(), id, 1)
			o.start(spec)
			return err
		},
	} {
		for _, when := range []string{"while the environment is built", "right before the start"} {
			t.Run(name+" "+when, func(t *testing.T) {
				f, o, api := outsideFixture(t)
				narrowed := 0
				change := func() {
					narrowed++
					f.allow(t, o, api.ID, narrow)
				}
				if when == "right before the start" {
					o.launch = change
				} else {
					f.builder.enter = change
				}
				if err := start(t, f, o, api.ID); err != nil || narrowed != 1 {
					t.Fatalf("%v, narrowed %d times", err, narrowed)
				}
				if o.guard.Knows("wide.example") || !o.guard.Knows("narrow.example") {
					t.Error("the policy of before holds")
				}
			})
		}
	}
}

// TestADeploysOwnPolicyHoldsFromItsStart, although the gate is told of the API while the version waits for its start, as of every change in the
// store.
func TestADeploysOwnPolicyHoldsFromItsStart(t *testing.T) {
	f, o, api := outsideFixture(t)
	o.launch = func() { o.gate.Set(api.ID, policy(t, wide)) }
	r := request("resize", "three")
	r.Options = map[string]string{"egress": "own.example:443"}
	f.mustDeploy(t, r)
	if !o.guard.Knows("own.example") || o.guard.Knows("wide.example") {
		t.Error("the policy of before holds")
	}
}

// TestWhatIsKnownWithoutTheStoreIsOld: a program that is started again while the store is away may reach no more than was set last.
func TestWhatIsKnownWithoutTheStoreIsOld(t *testing.T) {
	own := request("resize", "three")
	own.Options = map[string]string{"egress": "own.example:443, narrow.example:443"}
	for name, r := range map[string]deploy.Request{"as in the store": request("resize", "three"), "of its own": own} {
		t.Run(name, func(t *testing.T) {
			f, o, api := outsideFixture(t)
			f.mustDeploy(t, r)
			f.allow(t, o, api.ID, narrow)
			f.store.Store = &awayStore{Store: f.store.Store, away: true}
			spec, err := f.Source(t.Context(), api.ID, 0)
			if err != nil {
				t.Fatal(err)
			}
			o.start(spec)
			if o.guard.Knows("wide.example") || o.guard.Knows("own.example") || !o.guard.Knows("narrow.example") {
				t.Error("the policy of before holds")
			}
		})
	}
}

// TestWhatIsReadOfAPolicyIsKnownWithoutTheStore, and is as new as its reading.
func TestWhatIsReadOfAPolicyIsKnownWithoutTheStore(t *testing.T) {
	f, o, api := outsideFixture(t)
	f.mustDeploy(t, request("resize", "three"))
	f.allow(t, o, api.ID, wide)
	turn := o.EgressTurn()
	_, err := f.store.ChangeAPI(t.Context(), api.ID, func(now store.API) (store.API, error) {
		now.Options.Egress = narrow
		return now, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Egress(t.Context(), api.ID); err != nil {
		t.Fatal(err)
	}
	f.store.Store = &awayStore{Store: f.store.Store, away: true}
	spec, err := f.Source(t.Context(), api.ID, 0)
	if err != nil || spec.EgressTurn != turn {
		t.Fatalf("read at turn %d, not %d; %v", spec.EgressTurn, turn, err)
	}
	o.start(spec) // before the gate is told
	if o.guard.Knows("wide.example") || !o.guard.Knows("narrow.example") {
		t.Error("the policy of before holds")
	}
}

// TestAPolicyIsNotWaitedForWithoutEnd by a store that hangs: those of other APIs are read after it.
func TestAPolicyIsNotWaitedForWithoutEnd(t *testing.T) {
	f, _, api := outsideFixture(t)
	f.store.Store = &awayStore{Store: f.store.Store, hang: true}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if _, err := f.Egress(t.Context(), api.ID); !errors.Is(err, store.ErrUnavailable) || time.Since(began) > time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := f.Egress(ctx, api.ID); !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("who asks has gone away: %v", err)
		}
	})
}
