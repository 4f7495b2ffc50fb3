package deploy_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"apibuilder/deploy"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// deletedMeanwhile has another node delete the API while a version of it starts.
type deletedMeanwhile struct {
	*sandboxes
	remove func()
}

func (s *deletedMeanwhile) Replace(
	ctx context.Context, spec sandbox.Spec, commit func(context.Context) error,
) (*sandbox.Instance, error) {
	s.remove()
	return s.sandboxes.Replace(ctx, spec, commit)
}

func (s *deletedMeanwhile) Shift(ctx context.Context, api string, shares []sandbox.Share, commit func(context.Context) error) error {
	s.remove()
	return s.sandboxes.Shift(ctx, api, shares, commit)
}

// TestNothingIsKeptOfAnAPIThatAnotherNodeDeleted: what its version prints until it is given up comes after the deletion.
func TestNothingIsKeptOfAnAPIThatAnotherNodeDeleted(t *testing.T) {
	for name, move := range map[string]func(d *deploy.Deployer, id string) error{
		"deploy": func(d *deploy.Deployer, _ string) error {
			_, err := d.Deploy(t.Context(), request("resize", "three"))
			return err
		},
		"rollback": func(d *deploy.Deployer, id string) error {
			_, err := d.Rollback(t.Context(), id, 1)
			return err
		},
		"split": func(d *deploy.Deployer, id string) error {
			_, err := d.Traffic(t.Context(), id, []store.Share{{Version: 1, Weight: 1}, {Version: 2, Weight: 1}})
			return err
		},
	} {
		f := newFixture(t)
		f.mustDeploy(t, request("resize", "one"))
		id := f.mustDeploy(t, request("resize", "two")).API.ID
		boxes := &deletedMeanwhile{sandboxes: f.sandboxes, remove: func() {
			if err := f.store.DeleteAPI(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}}
		d := deploy.New(f.store, f.builder, boxes, deploy.Policy{})
		if err := move(d, id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Contains(f.sandboxes.removed, id) {
			t.Errorf("%s: something is kept of the API", name)
		}
	}
}
