package storetest

import (
	"fmt"
	"testing"
	"time"

	"apibuilder/store"
)

// pageTests read lists in parts and by filters.
var pageTests = map[string]func(*testing.T, store.Store){
	"APIs": pageAPIs, "keys": pageKeys, "audit": pageAudit, "usage": pageUsage,
}

func pageAPIs(t *testing.T, s store.Store) {
	get(s.CreateUser(t.Context(), store.User{ID: "user_1", Name: "ann", Plan: store.DefaultPlan}))(t)
	var ids []string
	for i := range 7 {
		a := newAPI(fmt.Sprintf("api-%d", i))
		a.Public, a.CodeSnapshot = i%2 == 0, "x"
		if i > 4 {
			a.UserID = "user_1"
		}
		ids = append(ids, get(s.CreateAPI(t.Context(), a))(t).ID)
	}
	makeVersion(t, s, ids[3])
	check(t, s.Activate(t.Context(), ids[3], 1))
	yes := true
	for _, c := range []struct {
		f    store.APIFilter
		want string
	}{
		{store.APIFilter{}, "0123456"},
		{store.APIFilter{Limit: 3}, "012"},
		{store.APIFilter{Limit: 3, After: "api-2"}, "345"},
		{store.APIFilter{After: "api-2x"}, "3456"}, // one that is gone
		{store.APIFilter{After: "api-6"}, ""},
		{store.APIFilter{UserID: "user_1"}, "56"},
		{store.APIFilter{Name: "i-3"}, "3"},
		{store.APIFilter{Name: "%"}, ""},
		{store.APIFilter{State: store.APIServing}, "3"},
		{store.APIFilter{State: store.APIDeploying, Public: &yes, Limit: 2, After: "api-0"}, "24"},
		{store.APIFilter{Name: "\x00\xff"}, ""},
	} {
		got := ""
		for _, a := range get(s.FindAPIs(t.Context(), c.f))(t) {
			got += a.Name[4:]
			if a.CodeSnapshot != "" || a.Requirements != "" {
				t.Errorf("a list has code: %+v", a)
			}
		}
		same(t, fmt.Sprintf("FindAPIs %+v", c.f), got, c.want)
	}
}

func pageKeys(t *testing.T, s store.Store) {
	a, b := makeAPI(t, s, "a"), makeAPI(t, s, "b")
	begin := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	for i := range 6 {
		k := store.Key{ID: fmt.Sprintf("key_%d", i), Name: fmt.Sprintf("n%d", i), Prefix: fmt.Sprintf("prefix%d", i), Hash: [32]byte{byte(i + 1)}, CreatedAt: begin.Add(time.Duration(i/2) * time.Hour)}
		k.APIID = []string{a.ID, b.ID}[i%2]
		if i == 5 {
			k.APIID, k.UserID, k.ExpiresAt = "", store.OperatorID, begin.Add(time.Hour)
		}
		get(s.CreateKey(t.Context(), k))(t)
	}
	get(s.RevokeKey(t.Context(), "key_0"))(t)
	at := func(i int) store.Position {
		return store.Position{At: begin.Add(time.Duration(i/2) * time.Hour), ID: fmt.Sprintf("key_%d", i)}
	}
	for _, c := range []struct {
		f    store.KeyFilter
		want string
	}{
		{store.KeyFilter{}, "012345"},
		{store.KeyFilter{Limit: 2}, "01"},
		{store.KeyFilter{Limit: 3, After: at(2)}, "345"},
		{store.KeyFilter{After: at(5)}, ""},
		{store.KeyFilter{APIID: b.ID}, "13"},
		{store.KeyFilter{UserID: store.OperatorID}, "5"},
		{store.KeyFilter{Name: "n4"}, "4"},
		{store.KeyFilter{ID: "key_4"}, "4"},
		{store.KeyFilter{Called: "n4"}, "4"},
		{store.KeyFilter{Called: "n"}, ""},
		{store.KeyFilter{Called: "prefix3"}, "3"},
		{store.KeyFilter{APIID: b.ID, Called: "prefix4"}, ""},
		{store.KeyFilter{Called: "not\x00UTF-8\xff"}, ""},
		{store.KeyFilter{State: store.KeyEnded}, "05"},
		{store.KeyFilter{State: store.KeyValid}, "1234"},
		{store.KeyFilter{State: store.KeyValid, Now: begin}, "12345"},
	} {
		got := ""
		for _, k := range get(s.FindKeys(t.Context(), c.f))(t) {
			got += k.Name[1:]
		}
		same(t, fmt.Sprintf("FindKeys %+v", c.f), got, c.want)
	}
}

// pageAudit has entries at the same moment, and one that comes while the list is read.
func pageAudit(t *testing.T, s store.Store) {
	begin := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	add := func(id string, hour int) {
		e := store.AuditEntry{ID: id, UserID: "user_" + id, TokenID: "tok_" + id, Time: begin.Add(time.Duration(hour) * time.Hour)}
		check(t, s.AddAudit(t.Context(), e))
	}
	for i, id := range []string{"c", "a", "b", "e", "d"} {
		add(id, i/2)
	}
	var got string
	var f store.AuditFilter
	for f.Limit = 2; ; {
		page := get(s.Audit(t.Context(), f))(t)
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			got += e.ID
			f.Before = store.Position{At: e.Time, ID: e.ID}
		}
		add("new"+got, 9)
	}
	same(t, "order", got, "debca")
	entries := get(s.Audit(t.Context(), store.AuditFilter{Until: begin.Add(2 * time.Hour), UserID: "user_b", TokenID: "tok_b"}))(t)
	if len(entries) != 1 || entries[0].ID != "b" {
		t.Errorf("%+v", entries)
	}
}

func pageUsage(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "a")
	var records []store.Usage
	for i, id := range []string{"c", "a", "b", "e", "d"} {
		u := usageRecord(id, a.ID)
		u.Time, u.KeyID = day.Add(time.Duration(i/2)*time.Hour), "key_"+id
		records = append(records, u)
	}
	check(t, s.AddUsage(t.Context(), records))
	var got string
	f := store.UsageFilter{APIID: a.ID, Limit: 2}
	for page := get(s.Usage(t.Context(), f))(t); len(page) > 0; page = get(s.Usage(t.Context(), f))(t) {
		for _, u := range page {
			got += u.ID
			f.Before = store.Position{At: u.Time, ID: u.ID}
		}
	}
	same(t, "order", got, "debca")
	found := get(s.Usage(t.Context(), store.UsageFilter{KeyID: "key_e", Until: day.Add(2 * time.Hour)}))(t)
	if len(found) != 1 || found[0].ID != "e" {
		t.Errorf("%+v", found)
	}
}
