package storetest

import (
	"slices"
	"testing"

	"apibuilder/store"
)

var fleetTests = map[string]func(*testing.T, store.Store){
	"has apis":         fleetHasAPIs,
	"building":         fleetBuilding,
	"environment uses": fleetEnvironmentUses,
	"always running":   fleetAlwaysRunning,
}

func fleetHasAPIs(t *testing.T, s store.Store) {
	same(t, "HasAPIs of a new store", get(s.HasAPIs(t.Context()))(t), false)
	a := makeAPI(t, s, "first")
	same(t, "HasAPIs", get(s.HasAPIs(t.Context()))(t), true)
	check(t, s.DeleteAPI(t.Context(), a.ID))
	same(t, "HasAPIs after the deletion", get(s.HasAPIs(t.Context()))(t), false)
}

func fleetBuilding(t *testing.T, s store.Store) {
	same(t, "Building of a new store", get(s.Building(t.Context()))(t), []store.Version{})
	a, b := makeAPI(t, s, "a"), makeAPI(t, s, "b")
	if a.ID > b.ID {
		a, b = b, a
	}
	makeVersion(t, s, a.ID) // ready
	var want []store.Version
	for _, id := range []string{a.ID, a.ID, b.ID} {
		want = append(want, get(s.AddVersion(t.Context(), store.Version{APIID: id, Code: "app = 1"}))(t))
	}
	same(t, "Building", get(s.Building(t.Context()))(t), want)
	done := want[0]
	done.State = store.VersionFailed
	check(t, s.UpdateVersion(t.Context(), done))
	same(t, "Building after one failed", get(s.Building(t.Context()))(t), want[1:])
}

func fleetEnvironmentUses(t *testing.T, s store.Store) {
	same(t, "EnvironmentUses of a new store", get(s.EnvironmentUses(t.Context()))(t), []store.EnvironmentUse{})
	b, a := makeAPI(t, s, "b"), makeAPI(t, s, "a")
	for _, v := range []store.Version{
		{APIID: b.ID, Environment: "one"}, {APIID: a.ID}, {APIID: a.ID, Environment: "two"}, {APIID: a.ID, Environment: "one"},
	} {
		v.Code, v.State = "app = 1", store.VersionReady
		get(s.AddVersion(t.Context(), v))(t)
	}
	same(t, "EnvironmentUses", get(s.EnvironmentUses(t.Context()))(t), []store.EnvironmentUse{
		{Environment: "two", API: "a", Version: 2}, {Environment: "one", API: "a", Version: 3}, {Environment: "one", API: "b", Version: 1},
	})
	check(t, s.DeleteAPI(t.Context(), a.ID))
	same(t, "EnvironmentUses after a deletion", get(s.EnvironmentUses(t.Context()))(t), []store.EnvironmentUse{
		{Environment: "one", API: "b", Version: 1},
	})
}

func fleetAlwaysRunning(t *testing.T, s store.Store) {
	same(t, "AlwaysRunning of a new store", get(s.AlwaysRunning(t.Context()))(t), []string{})
	var want []string
	for i, name := range []string{"kept", "sleeps", "kept-too", "never-deployed"} {
		a := makeAPI(t, s, name)
		if i != 3 {
			makeVersion(t, s, a.ID)
			check(t, s.Activate(t.Context(), a.ID, 1))
		}
		if i != 1 {
			a.Options.MinInstances = i + 1
			get(updateAPI(t.Context(), s, a))(t)
		}
		if i == 0 || i == 2 {
			want = append(want, a.ID)
		}
	}
	slices.Sort(want)
	same(t, "AlwaysRunning", get(s.AlwaysRunning(t.Context()))(t), want)
}
