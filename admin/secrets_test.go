package admin_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"apibuilder/admin"
	"apibuilder/store"
)

// vault has key "old" and, when one is prepared, "new".
type vault struct {
	mu       sync.Mutex
	keys     []string
	prepared string
	rotated  int
}

func (v *vault) Rotate(_ context.Context, newKey, dropOld bool) (admin.SecretsRotated, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rotated++
	if newKey {
		v.keys, v.prepared = append([]string{"new"}, slices.DeleteFunc(v.keys, func(k string) bool { return k == "new" })...), ""
	}
	if dropOld {
		v.keys = v.keys[:1]
	}
	return admin.SecretsRotated{Environments: 3, KeyFile: "/keys"}, nil
}

func (v *vault) Prepare() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.prepared == "" {
		v.keys, v.prepared = append(v.keys, "new"), "new"
	}
	return nil
}

func (v *vault) Keys() (node string, all []string, prepared, file string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return "node_own", slices.Clone(v.keys), v.prepared, "/keys"
}

// TestRotationWaitsForTheOtherNodes refuses each step as long as another node that lives could not follow it.
func TestRotationWaitsForTheOtherNodes(t *testing.T) {
	v := &vault{keys: []string{"old"}}
	f := newFixture(t)
	f.Server = f.with(f.store, v)
	beat := func(id, keys string) {
		t.Helper()
		if err := f.store.BeatNode(t.Context(), store.Node{ID: id, Name: id, Keys: keys}); err != nil {
			t.Fatal(err)
		}
	}
	rotate := func(body string, want int, says string) (result admin.SecretsRotated) {
		t.Helper()
		w := f.local(t, "POST", "/api/v1/secrets/rotate", body)
		if w.Code != want || !strings.Contains(w.Body.String(), says) {
			t.Fatalf("%s: %d %s, want %d %s", body, w.Code, w.Body, want, says)
		}
		if want == http.StatusOK {
			if err := json.Unmarshal(w.Body.Bytes(), &result); err != nil {
				t.Fatal(err)
			}
		}
		return result
	}
	beat("node_own", "old")
	rotate(`{}`, 200, "") // alone it needs nobody
	v.keys = []string{"old"}

	beat("node_b", "old")
	rotate(`{}`, 400, "--prepare")
	rotate(`{"prepare":true,"drop_old":true}`, 400, "by itself")
	if got := rotate(`{"prepare":true}`, 200, ""); !slices.Equal(got.CopyTo, []string{"node_b"}) || got.KeyFile != "/keys" {
		t.Errorf("%+v", got)
	}
	rotate(`{}`, 400, "node_b does not have the key")
	beat("node_c", "") // of an older release, which does not say
	beat("node_b", "old new")
	rotate(`{}`, 400, "node_c does not have the key")
	beat("node_c", "old new")
	rotate(`{"drop_old":true}`, 400, "still encrypts for another key")
	rotate(`{"same_key":true,"drop_old":true}`, 200, "") // for the old one, which all have
	v.keys, v.prepared, v.rotated = []string{"old", "new"}, "new", 0
	if got := rotate(`{}`, 200, ""); !slices.Equal(got.CopyTo, []string{"node_b", "node_c"}) || v.rotated != 1 || v.keys[0] != "new" {
		t.Errorf("%+v, %+v", got, v)
	}
	rotate(`{"same_key":true,"drop_old":true}`, 400, "still encrypts for another key")
	beat("node_b", "new old")
	beat("node_c", "new old")
	if got := rotate(`{"same_key":true,"drop_old":true}`, 200, ""); len(got.CopyTo) != 0 || len(v.keys) != 1 {
		t.Errorf("%+v, %+v", got, v)
	}
}
