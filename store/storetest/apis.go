package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"apibuilder/store"
)

var apiTests = map[string]func(*testing.T, store.Store){
	"round trip":              apiRoundTrip,
	"create sets times":       apiTimes,
	"conflicts":               apiConflicts,
	"not found":               apiNotFound,
	"a name is no other's id": apiAddresses,
	"and never at once":       apiAddressesAtOnce,
	"list is by name":         apiList,
	"update":                  apiUpdate,
	"delete takes all but":    apiDelete,
	"delete leaves neighbors": apiDeleteNeighbor,
	"invalid":                 apiInvalid,
	"hosts":                   apiHosts,
	"hosts of many at once":   apiHostsAtOnce,
}

func apiRoundTrip(t *testing.T, s store.Store) {
	var a store.API
	fill(&a)
	a.Name, a.UserID, a.ActiveVersion = "resize", store.OperatorID, 0
	created := get(s.CreateAPI(t.Context(), a))(t)
	same(t, "CreateAPI", created, a)
	same(t, "API by id", get(s.API(t.Context(), a.ID))(t), a)
	same(t, "API by name", get(s.API(t.Context(), a.Name))(t), a)
	same(t, "APIs", get(s.APIs(t.Context()))(t), []store.API{a})
}

func apiTimes(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	recent(t, "CreatedAt", a.CreatedAt)
	recent(t, "UpdatedAt", a.UpdatedAt)
	same(t, "API", get(s.API(t.Context(), a.ID))(t), a)
}

func apiConflicts(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	_, err := s.CreateAPI(t.Context(), newAPI("resize"))
	refused(t, err, store.ErrConflict, "resize")
	b := newAPI("other")
	b.ID = a.ID
	_, err = s.CreateAPI(t.Context(), b)
	refused(t, err, store.ErrConflict, "other")
	same(t, "APIs", get(s.APIs(t.Context()))(t), []store.API{a})
}

func apiNotFound(t *testing.T, s store.Store) {
	_, err := s.API(t.Context(), "api_nobody")
	refused(t, err, store.ErrNotFound, "api_nobody")
	_, err = updateAPI(t.Context(), s, store.API{ID: "api_nobody", Name: "x", UserID: store.OperatorID})
	refused(t, err, store.ErrNotFound, "api_nobody")
	refused(t, s.DeleteAPI(t.Context(), "api_nobody"), store.ErrNotFound, "api_nobody")
	a := newAPI("orphan")
	a.UserID = "user_nobody"
	_, err = s.CreateAPI(t.Context(), a)
	refused(t, err, store.ErrNotFound, "user_nobody")
	a = makeAPI(t, s, "resize")
	refused(t, s.DeleteAPI(t.Context(), a.Name), store.ErrNotFound, a.Name)
	b := a
	b.UserID = "user_nobody"
	_, err = updateAPI(t.Context(), s, b)
	refused(t, err, store.ErrNotFound, "user_nobody")
	same(t, "APIs", get(s.APIs(t.Context()))(t), []store.API{a})
}

// apiAddresses: whoever could have another API's address would have its requests.
func apiAddresses(t *testing.T, s store.Store) {
	named, own := newAPI("named"), newAPI("own")
	own.ID = "own"
	named, own = get(s.CreateAPI(t.Context(), named))(t), get(s.CreateAPI(t.Context(), own))(t)
	byID := newAPI("third")
	byID.ID = named.Name
	_, err := s.CreateAPI(t.Context(), byID)
	refused(t, err, store.ErrConflict, "third")
	other := newAPI("fourth")
	other.ID = "fourth-id"
	get(s.CreateAPI(t.Context(), other))(t)
	_, err = s.CreateAPI(t.Context(), newAPI(other.ID))
	refused(t, err, store.ErrConflict, other.ID)
	same(t, "by name", get(s.API(t.Context(), "named"))(t), named)
	same(t, "by both", get(s.API(t.Context(), "own"))(t), own)
}

func apiAddressesAtOnce(t *testing.T, s store.Store) {
	for i := range 20 {
		address := fmt.Sprintf("address-%d", i)
		named, other := newAPI(address), newAPI(fmt.Sprintf("other-%d", i))
		other.ID = address
		var made atomic.Int32
		var both sync.WaitGroup
		for _, a := range []store.API{named, other} {
			both.Go(func() {
				switch _, err := s.CreateAPI(t.Context(), a); {
				case err == nil:
					made.Add(1)
				case !errors.Is(err, store.ErrConflict):
					t.Error(err)
				}
			})
		}
		both.Wait()
		if n := made.Load(); n != 1 {
			t.Fatalf("%d APIs have the address %s", n, address)
		}
	}
}

func apiList(t *testing.T, s store.Store) {
	for _, name := range []string{"m", "a-b", "z", "a", "9", "ab"} {
		makeAPI(t, s, name)
	}
	var names []string
	for _, a := range get(s.APIs(t.Context()))(t) {
		names = append(names, a.Name)
	}
	same(t, "names", names, []string{"9", "a", "a-b", "ab", "m", "z"})
}

func apiUpdate(t *testing.T, s store.Store) {
	user := get(s.CreateUser(t.Context(), store.User{ID: "user_1", Name: "ann", Plan: store.DefaultPlan}))(t)
	a := makeAPI(t, s, "resize")
	v := makeVersion(t, s, a.ID)
	check(t, s.Activate(t.Context(), a.ID, v.Number))
	want := get(s.API(t.Context(), a.ID))(t)
	want.Public, want.PublicDocs, want.UserID = true, true, user.ID
	want.Rate = store.Rate{Requests: 7, Per: 1234567891}
	want.Options = store.Options{RequestTimeout: 90 * time.Second}
	change := want
	change.Name, change.CodeSnapshot, change.Requirements, change.ActiveVersion = "stray", "stray", "stray", 9
	got := get(updateAPI(t.Context(), s, change))(t)
	recent(t, "UpdatedAt", got.UpdatedAt)
	if got.UpdatedAt.Before(want.UpdatedAt) {
		t.Error("UpdatedAt went back")
	}
	want.UpdatedAt = got.UpdatedAt
	same(t, "ChangeAPI", got, want)
	same(t, "API", get(s.API(t.Context(), a.ID))(t), want)
}

func apiDelete(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	v, k := makeVersion(t, s, a.ID), makeKey(t, s, a.ID)
	u := usageRecord("req_1", a.ID)
	check(t, s.AddExit(t.Context(), store.Exit{APIID: a.ID, Version: 1, Reason: "crashed"}))
	check(t, s.AddUsage(t.Context(), []store.Usage{u}))
	check(t, s.DeleteAPI(t.Context(), a.ID))

	_, err := s.API(t.Context(), a.ID)
	refused(t, err, store.ErrNotFound, a.ID)
	_, err = s.Version(t.Context(), a.ID, v.Number)
	refused(t, err, store.ErrNotFound, a.ID)
	_, err = s.KeyByHash(t.Context(), k.Hash)
	refused(t, err, store.ErrNotFound, "")
	same(t, "exits left", len(get(s.Exits(t.Context(), a.ID, 10))(t)), 0)
	same(t, "versions left", len(get(s.FindVersions(t.Context(), store.VersionFilter{APIID: a.ID}))(t)), 0)
	same(t, "keys left", len(get(s.Keys(t.Context(), a.ID))(t)), 0)
	same(t, "Usage", get(s.Usage(t.Context(), store.UsageFilter{APIID: a.ID}))(t), []store.Usage{u})

	late := usageRecord("req_2", a.ID)
	check(t, s.AddUsage(t.Context(), []store.Usage{late}))
	same(t, "CountUsage", get(s.CountUsage(t.Context(), a.ID, "", day))(t), int64(2))
	refused(t, s.AddExit(t.Context(), store.Exit{APIID: a.ID}), store.ErrNotFound, a.ID)
	makeAPI(t, s, "resize") // the name is free again
}

func apiDeleteNeighbor(t *testing.T, s store.Store) {
	a, b := makeAPI(t, s, "a"), makeAPI(t, s, "b")
	v, k := makeVersion(t, s, b.ID), makeKey(t, s, b.ID)
	check(t, s.DeleteAPI(t.Context(), a.ID))
	same(t, "APIs", get(s.APIs(t.Context()))(t), []store.API{b})
	same(t, "Versions", get(s.FindVersions(t.Context(), store.VersionFilter{APIID: b.ID}))(t), []store.VersionSummary{v.Summary()})
	same(t, "Keys", get(s.Keys(t.Context(), b.ID))(t), []store.Key{k})
}

func apiInvalid(t *testing.T, s store.Store) {
	for _, a := range []store.API{
		{Name: "resize", UserID: store.OperatorID},
		{ID: "api_1", Name: "Resize", UserID: store.OperatorID},
		{ID: "api_1", Name: "api_1", UserID: store.OperatorID},
		{ID: "api_1", UserID: store.OperatorID},
	} {
		_, err := s.CreateAPI(t.Context(), a)
		refused(t, err, store.ErrInvalid, "")
	}
	if all := get(s.APIs(t.Context()))(t); slices.ContainsFunc(all, func(store.API) bool { return true }) {
		t.Fatalf("stored all the same: %+v", all)
	}
}
