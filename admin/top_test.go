package admin_test

import (
	"net/http"
	"testing"

	"apibuilder/admin"
	"apibuilder/sandbox"
)

func TestTopShowsWhatAPIsDo(t *testing.T) {
	f := newTwo(t)
	anna, _ := f.store.API(t.Context(), "of-anna")
	bert, _ := f.store.API(t.Context(), "of-bert")
	f.lives.running[anna.ID] = true
	f.lives.trouble = map[string]sandbox.Trouble{bert.ID: {Reason: sandbox.Crashed, Loop: true}}
	all := decode[admin.Top](t, f.local(t, "GET", "/api/v1/top", ""))
	if len(all.APIs) != 2 || all.At.IsZero() {
		t.Fatalf("%+v", all)
	}
	by := map[string]admin.TopAPI{}
	for _, api := range all.APIs {
		by[api.Name] = api
	}
	a, b := by["of-anna"], by["of-bert"]
	if a.State != "running" || a.Requests != 10 || a.ClientErrors != 2 || a.ServerErrors != 1 || a.InFlight != 3 || a.MemoryBytes != 1<<20 ||
		len(a.Instances) != 1 || a.Instances[0].ID != "i1" || a.Instances[0].CPUSeconds != 1.5 || a.Instances[0].State != "serving" {
		t.Errorf("%+v", a)
	}
	if b.State != "crash_loop" || len(b.Instances) != 0 {
		t.Errorf("%+v", b)
	}
	for name, may := range map[string]func(string, string, string) int{
		"anna":        func(m, p, b string) int { return len(decode[admin.Top](t, f.anna(m, p, b)).APIs) },
		"annasReader": func(m, p, b string) int { return len(decode[admin.Top](t, f.annasReader(m, p, b)).APIs) },
	} {
		if n := may(http.MethodGet, "/api/v1/top", ""); n != 1 {
			t.Errorf("%s sees %d APIs", name, n)
		}
	}
	if top := decode[admin.Top](t, f.bert("GET", "/api/v1/top", "")); len(top.APIs) != 1 || top.APIs[0].Name != "of-bert" {
		t.Errorf("bert sees %+v", top)
	}
	if top := decode[admin.Top](t, f.reader("GET", "/api/v1/top", "")); len(top.APIs) != 2 {
		t.Errorf("who reads everything sees %+v", top)
	}
}
