package admin_test

import (
	"net/http"
	"testing"

	"apibuilder/store"
)

// TestTheAPIThatWasDecidedAboutIsDeleted: an author's API goes, and another author takes its name, while a second request to delete it
// is under way.
func TestTheAPIThatWasDecidedAboutIsDeleted(t *testing.T) {
	f := newTwo(t)
	bert, _ := f.store.API(t.Context(), "of-bert")
	annas, _ := f.store.API(t.Context(), "of-anna")
	f.deployer.deleting = func() {
		if err := f.store.DeleteAPI(t.Context(), annas.ID); err != nil {
			t.Error(err)
		}
		if _, err := f.store.CreateAPI(t.Context(), store.API{ID: store.NewID("api"), Name: "of-anna", UserID: bert.UserID}); err != nil {
			t.Error(err)
		}
	}
	wantProblem(t, f.anna("DELETE", "/api/v1/apis/of-anna", ""), http.StatusNotFound, "not_found")
	if api, err := f.store.API(t.Context(), "of-anna"); err != nil || api.UserID != bert.UserID {
		t.Errorf("%+v, %v", api, err)
	}
}
