package admin_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"apibuilder/store"
)

// TestSettingsBesideTraffic is `apis update` beside `apis traffic`, and two updates of a plan, at the same moment: neither
// takes the other one back.
func TestSettingsBesideTraffic(t *testing.T) {
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
	for i := 1; i <= 50; i++ {
		var all sync.WaitGroup
		for _, c := range []struct{ method, path, body string }{
			{"PATCH", "apis/hello", `{"options":{"quota":"%d"}}`},
			{"PATCH", "apis/hello", `{"rate":{"requests":%d,"seconds":1}}`},
			{"PUT", "apis/hello/traffic", `{"shares":[{"version":1,"weight":%d},{"version":2,"weight":1}]}`},
			{"PATCH", "plans/default", `{"quota":%d}`},
			{"PATCH", "plans/default", `{"limits":{"pids":%d}}`},
		} {
			all.Go(func() {
				if w := f.local(t, c.method, "/api/v1/"+c.path, fmt.Sprintf(c.body, i+10)); w.Code != http.StatusOK {
					t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
				}
			})
		}
		all.Wait()
		now, err := f.store.API(t.Context(), api.ID)
		if err != nil {
			t.Fatal(err)
		}
		if split := now.Split(); now.Options.Quota != int64(i+10) || now.Rate.Requests != i+10 || len(split) != 2 || split[0].Weight != i+10 {
			t.Fatalf("round %d: quota %d, rate %+v, split %+v", i, now.Options.Quota, now.Rate, split)
		}
		if plan, err := f.store.Plan(t.Context(), "default"); err != nil || plan.Quota != int64(i+10) || plan.Limits.Pids != i+10 {
			t.Fatalf("round %d: %+v, %v", i, plan, err)
		}
	}
}
