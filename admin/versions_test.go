package admin_test

import (
	"testing"

	"apibuilder/admin"
	"apibuilder/store"
)

// TestAnAPIIsShownWithItsNewestVersions, and those that get requests, however many it has.
func TestAnAPIIsShownWithItsNewestVersions(t *testing.T) {
	f := newFixture(t)
	api := f.api(t, "hello")
	for range 150 {
		if _, err := f.store.AddVersion(t.Context(), store.Version{APIID: api.ID, Code: "x", State: store.VersionReady}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.store.Activate(t.Context(), api.ID, 7); err != nil {
		t.Fatal(err)
	}
	f.local(t, "PUT", "/api/v1/apis/hello/traffic", `{"shares":[{"version":7,"weight":1},{"version":9,"weight":1},{"version":150,"weight":1}]}`)
	shown := decode[admin.API](t, f.local(t, "GET", "/api/v1/apis/hello", ""))
	if n := len(shown.Versions); n != admin.ShownVersions+2 || shown.Versions[0].Number != 150 || shown.Versions[n-2].Number != 9 ||
		shown.Versions[n-1].Number != 7 || shown.Limits == nil {
		t.Errorf("%d versions, limits %v", n, shown.Limits)
	}
}
