package storetest

import (
	"slices"
	"sync"
	"testing"

	"apibuilder/store"
)

var versionTests = map[string]func(*testing.T, store.Store){
	"round trip":                  versionRoundTrip,
	"numbers without gaps":        versionNumbers,
	"concurrent numbers":          versionConcurrent,
	"list is newest first":        versionList,
	"a list is small":             versionListIsSmall,
	"not found":                   versionNotFound,
	"update":                      versionUpdate,
	"a final state stays":         versionFinal,
	"a lock stays":                versionLock,
	"activate copies":             versionActivate,
	"activate nothing":            versionActivateMissing,
	"a refused one takes no name": versionRefused,
}

func versionRoundTrip(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	var v store.Version
	fill(&v)
	v.APIID, v.Number = a.ID, 99
	added := get(s.AddVersion(t.Context(), v))(t)
	v.Number = 1
	same(t, "AddVersion", added, v)
	same(t, "Version", get(s.Version(t.Context(), a.ID, 1))(t), v)

	plain := get(s.AddVersion(t.Context(), store.Version{APIID: a.ID}))(t)
	recent(t, "CreatedAt", plain.CreatedAt)
	same(t, "State", plain.State, store.VersionBuilding)
	same(t, "Version", get(s.Version(t.Context(), a.ID, 2))(t), plain)
}

func versionNumbers(t *testing.T, s store.Store) {
	a, b := makeAPI(t, s, "a"), makeAPI(t, s, "b")
	for want := 1; want <= 3; want++ {
		same(t, "number", makeVersion(t, s, a.ID).Number, want)
		same(t, "number", makeVersion(t, s, b.ID).Number, want)
	}
}

func versionConcurrent(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	const writers, each = 8, 10
	var wg sync.WaitGroup
	var mu sync.Mutex
	var numbers []int
	for range writers {
		wg.Go(func() {
			for range each {
				v, err := s.AddVersion(t.Context(), store.Version{APIID: a.ID})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				numbers = append(numbers, v.Number)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(numbers)
	for i, n := range numbers {
		if n != i+1 {
			t.Fatalf("numbers have a gap or a double: %v", numbers)
		}
	}
	same(t, "versions", len(numbers), writers*each)
}

func versionList(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	for range 12 {
		makeVersion(t, s, a.ID)
	}
	numbers := func(f store.VersionFilter) (all []int) {
		t.Helper()
		for _, v := range get(s.FindVersions(t.Context(), f))(t) {
			all = append(all, v.Number)
		}
		return all
	}
	same(t, "all", numbers(store.VersionFilter{APIID: a.ID}), []int{12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1})
	same(t, "some below one", numbers(store.VersionFilter{APIID: a.ID, Below: 5, Limit: 3}), []int{4, 3, 2})
	get(s.AddVersion(t.Context(), store.Version{APIID: a.ID, State: store.VersionFailed}))(t)
	same(t, "failed ones", numbers(store.VersionFilter{APIID: a.ID, State: store.VersionFailed}), []int{13})
	same(t, "versions of nobody", numbers(store.VersionFilter{APIID: "api_nobody"}), []int(nil))
}

// versionListIsSmall has a list without what makes a version large or secret, and all of it where one is asked for.
func versionListIsSmall(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	var v store.Version
	fill(&v)
	v.APIID, v.Number, v.Code = a.ID, 1, "Größe"
	get(s.AddVersion(t.Context(), v))(t)
	want := v.Summary()
	if want.Code+want.Lock != "" || want.Env != nil || want.CodeBytes != 7 || want.Requirements == "" || want.Detail == "" {
		t.Errorf("a summary is %+v", want)
	}
	same(t, "FindVersions", get(s.FindVersions(t.Context(), store.VersionFilter{APIID: a.ID}))(t), []store.VersionSummary{want})
	same(t, "Version", get(s.Version(t.Context(), a.ID, 1))(t), v)
}

func versionNotFound(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	_, err := s.Version(t.Context(), a.ID, 1)
	refused(t, err, store.ErrNotFound, a.ID)
	_, err = s.AddVersion(t.Context(), store.Version{APIID: "api_nobody"})
	refused(t, err, store.ErrNotFound, "api_nobody")
	err = s.UpdateVersion(t.Context(), store.Version{APIID: a.ID, Number: 1, State: store.VersionReady})
	refused(t, err, store.ErrNotFound, a.ID)
}

func versionUpdate(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	want := get(s.AddVersion(t.Context(), store.Version{APIID: a.ID, Code: "code", Env: map[string]string{"A": "b"}}))(t)
	other := makeVersion(t, s, a.ID)
	want.State, want.Environment, want.Failure, want.Detail = store.VersionFailed, "env", "import_error", "Traceback"
	change := want
	change.Code, change.Requirements, change.Python, change.Env = "stray", "stray", "stray", nil
	check(t, s.UpdateVersion(t.Context(), change))
	same(t, "Version", get(s.Version(t.Context(), a.ID, want.Number))(t), want)
	same(t, "other version", get(s.Version(t.Context(), a.ID, other.Number))(t), other)
}

func versionLock(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	want := get(s.AddVersion(t.Context(), store.Version{APIID: a.ID}))(t)
	want.Lock, want.State = "# python 3.11.2\nsix==1.16.0 --hash=sha256:ab\n", store.VersionReady
	check(t, s.UpdateVersion(t.Context(), want))
	stray := want
	stray.Lock = "six==1.17.0"
	refused(t, s.UpdateVersion(t.Context(), stray), store.ErrInvalid, "lock")
	without := want
	without.Lock, want.Environment, without.Environment = "", "rebuilt", "rebuilt"
	check(t, s.UpdateVersion(t.Context(), without))
	same(t, "Version", get(s.Version(t.Context(), a.ID, want.Number))(t), want)
}

func versionFinal(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	for _, final := range []store.VersionState{store.VersionReady, store.VersionFailed} {
		v := get(s.AddVersion(t.Context(), store.Version{APIID: a.ID}))(t)
		v.State = final
		check(t, s.UpdateVersion(t.Context(), v))
		v.Environment = "rebuilt"
		check(t, s.UpdateVersion(t.Context(), v))
		for _, next := range []store.VersionState{store.VersionBuilding, store.VersionReady, store.VersionFailed} {
			stray := v
			stray.State, stray.Detail = next, "stray"
			if next != final {
				refused(t, s.UpdateVersion(t.Context(), stray), store.ErrInvalid, string(next))
			}
		}
		same(t, "Version", get(s.Version(t.Context(), a.ID, v.Number))(t), v)
	}
}

func versionActivate(t *testing.T, s store.Store) {
	want, other := makeAPI(t, s, "resize"), makeAPI(t, s, "other")
	for n := range 3 {
		v := store.Version{APIID: want.ID, Code: "code " + string(rune('a'+n)), Requirements: "req " + string(rune('a'+n))}
		get(s.AddVersion(t.Context(), v))(t)
	}
	for _, n := range []int{2, 3, 1} {
		check(t, s.Activate(t.Context(), want.ID, n))
		got := get(s.API(t.Context(), want.ID))(t)
		v := get(s.Version(t.Context(), want.ID, n))(t)
		want.ActiveVersion, want.CodeSnapshot, want.Requirements = n, v.Code, v.Requirements
		recent(t, "UpdatedAt", got.UpdatedAt)
		want.UpdatedAt = got.UpdatedAt
		same(t, "API", got, want)
	}
	same(t, "other API", get(s.API(t.Context(), other.ID))(t), other)
}

func versionActivateMissing(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	makeVersion(t, s, a.ID)
	check(t, s.Activate(t.Context(), a.ID, 1))
	want := get(s.API(t.Context(), a.ID))(t)
	refused(t, s.Activate(t.Context(), a.ID, 2), store.ErrNotFound, a.ID)
	refused(t, s.Activate(t.Context(), "api_nobody", 1), store.ErrNotFound, "api_nobody")
	same(t, "API", get(s.API(t.Context(), a.ID))(t), want)
}

func versionRefused(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	_, err := s.AddVersion(t.Context(), store.Version{APIID: a.ID, State: "done"})
	refused(t, err, store.ErrInvalid, "done")
	same(t, "number", makeVersion(t, s, a.ID).Number, 1)
}
