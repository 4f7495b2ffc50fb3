package admin_test

import (
	"net/http"
	"strings"
	"testing"

	"apibuilder/store"
)

func TestTraffic(t *testing.T) {
	f := newFixture(t)
	api := f.api(t, "hello")
	for range 2 {
		if _, err := f.store.AddVersion(t.Context(), store.Version{APIID: api.ID, Code: "x", State: store.VersionReady}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.store.Activate(t.Context(), api.ID, 1); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"PUT", "traffic", `{"shares":[{"version":1,"weight":90},{"version":2,"weight":10}]}`, 200, `"traffic":[{"version":1,"weight":90},{"version":2,"weight":10}]`},
		{"GET", "", "", 200, `"traffic":[{"version":1,`},
		{"POST", "promote", `{"version":2}`, 200, `"notice":"the split v1=90 v2=10 has ended"`},
		{"PUT", "traffic", `{"share":[]}`, 400, `"type":"bad_request"`},
		{"POST", "promote", `{"version":"2"}`, 400, `"type":"bad_request"`},
		{"POST", "promote", `{"version":9}`, 404, `no such version`},
	} {
		w := f.local(t, c.method, strings.TrimRight("/api/v1/apis/hello/"+c.path, "/"), c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
}

func TestInstancesAreShown(t *testing.T) {
	f := newFixture(t)
	api := f.api(t, "hello")
	f.lives.running[api.ID] = true
	w := f.local(t, http.MethodGet, "/api/v1/apis/hello", "")
	if want := `"instances":[{"version":1,"state":"serving","in_flight":3,"memory_bytes":1048576,"started":`; !strings.Contains(w.Body.String(), want) {
		t.Errorf("%s", w.Body)
	}
}
