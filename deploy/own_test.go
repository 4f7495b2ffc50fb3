package deploy_test

import (
	"context"
	"errors"
	"testing"
	"time"

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
	if versions, _ := f.store.FindVersions(t.Context(), store.VersionFilter{APIID: theirs.ID}); len(versions) != 1 {
		t.Errorf("it has %d versions", len(versions))
	}
	r.Name = "mine"
	if api := f.mustDeploy(t, r).API; api.UserID != user.ID {
		t.Errorf("its owner is %s", api.UserID)
	}
	f.mustDeploy(t, r) // again, as a new version
}

// TestANameThatIsTakenMeanwhileStaysSomebodyElses has another node create an API of that name for another user, after this one has
// seen that there is none.
func TestANameThatIsTakenMeanwhileStaysSomebodyElses(t *testing.T) {
	f := newFixture(t)
	if _, err := f.store.CreateUser(t.Context(), store.User{ID: "user_1", Name: "anna", Plan: store.DefaultPlan}); err != nil {
		t.Fatal(err)
	}
	f.store.create = func(ctx context.Context, a store.API) (store.API, error) {
		a.ID, a.UserID = store.NewID("api"), store.OperatorID
		if _, err := f.store.Store.CreateAPI(ctx, a); err != nil {
			t.Error(err)
		}
		return a, store.ErrConflict
	}
	r := request("resize", "one")
	r.UserID, r.OwnOnly = "user_1", true
	if _, err := f.Deploy(t.Context(), r); !errors.Is(err, store.ErrConflict) {
		t.Errorf("deploy: %v", err)
	}
	theirs, err := f.store.API(t.Context(), "resize")
	if err != nil || theirs.UserID != store.OperatorID {
		t.Fatalf("%+v, %v", theirs, err)
	}
	if versions, _ := f.store.FindVersions(t.Context(), store.VersionFilter{APIID: theirs.ID}); len(versions) > 0 {
		t.Errorf("it has %d versions", len(versions))
	}
}

// TestNobodyWaitsForSomebodyElsesDeploy is told that the name is taken while its owner's deploy is under way.
func TestNobodyWaitsForSomebodyElsesDeploy(t *testing.T) {
	f := newFixture(t)
	f.mustDeploy(t, request("resize", "one"))
	building, end := make(chan struct{}), make(chan struct{})
	f.builder.enter = func() { close(building); <-end }
	done := make(chan error)
	go func() {
		_, err := f.Deploy(context.WithoutCancel(t.Context()), request("resize", "two"))
		done <- err
	}()
	<-building
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r := request("resize", "three")
	r.UserID, r.OwnOnly = "user_1", true
	if _, err := f.Deploy(ctx, r); !errors.Is(err, store.ErrConflict) {
		t.Errorf("deploy: %v", err)
	}
	close(end)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
