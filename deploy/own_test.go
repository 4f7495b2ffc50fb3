package deploy_test

import (
	"errors"
	"testing"

	"apibuilder/store"
)

// TestOwnOnlyTouchesNobodyElses is a deploy by an author under the name of another's API.
func TestOwnOnlyTouchesNobodyElses(t *testing.T) {
	f := newFixture(t)
	theirs := f.mustDeploy(t, request("resize", "one")).API
	user, err := f.store.CreateUser(t.Context(), store.User{ID: "user_1", Name: "anna", Plan: store.DefaultPlan})
	if err != nil {
		t.Fatal(err)
	}
	r := request("resize", "two")
	r.UserID, r.OwnOnly = user.ID, true
	if _, err := f.Deploy(t.Context(), r); !errors.Is(err, store.ErrConflict) {
		t.Errorf("deploy: %v", err)
	}
	if versions, _ := f.store.Versions(t.Context(), theirs.ID); len(versions) != 1 {
		t.Errorf("it has %d versions", len(versions))
	}
	r.Name = "mine"
	if api := f.mustDeploy(t, r).API; api.UserID != user.ID {
		t.Errorf("its owner is %s", api.UserID)
	}
	f.mustDeploy(t, r) // again, as a new version
}
