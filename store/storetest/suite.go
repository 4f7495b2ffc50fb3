// Package storetest is the conformance suite of store.Store: every driver passes it unchanged, so that what the other
// packages rely on holds whatever the operator stores in.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"apibuilder/store"
)

// Opener returns a store for one test and closes it at the test's end.
type Opener func(t *testing.T) store.Store

// Run checks every promise of store.Store. Each call of open returns a new store, as it is born.
func Run(t *testing.T, open Opener) {
	groups := map[string]map[string]func(*testing.T, store.Store){
		"apis": apiTests, "versions": versionTests, "keys": keyTests, "users": userTests, "tokens": tokenTests,
		"usage": usageTests, "sums": sumTests, "exits": exitTests, "audit": auditTests, "changes": changeTests, "text": textTests, "calls": callTests,
		"bundles": bundleTests, "egress": egressTests, "fleet": fleetTests, "nodes": nodeTests,
		"races": raceTests, "pages": pageTests, "answers": answerTests,
	}
	for group, tests := range groups {
		for name, test := range tests {
			t.Run(group+"/"+name, func(t *testing.T) { test(t, open(t)) })
		}
	}
}

// RunReopen checks that what was written is there after the store was closed and opened again. All calls of open in one
// test return stores over the same data.
func RunReopen(t *testing.T, open Opener) {
	s := open(t)
	a := makeAPI(t, s, "kept")
	v := makeVersion(t, s, a.ID)
	check(t, s.Activate(t.Context(), a.ID, v.Number))
	k := makeKey(t, s, a.ID)
	tok := makeToken(t, s)
	u := usageRecord("req_1", a.ID)
	check(t, s.AddUsage(t.Context(), []store.Usage{u}))
	a = get(s.API(t.Context(), a.ID))(t)
	check(t, s.Close())
	check(t, s.Close())
	if s.Ping(t.Context()) == nil {
		t.Error("a closed store answers Ping")
	}

	s = open(t)
	same(t, "API", get(s.API(t.Context(), "kept"))(t), a)
	same(t, "Version", get(s.Version(t.Context(), a.ID, v.Number))(t), v)
	same(t, "KeyByHash", get(s.KeyByHash(t.Context(), k.Hash))(t), k)
	same(t, "TokenByHash", get(s.TokenByHash(t.Context(), tok.Hash))(t), tok)
	same(t, "SumUsage", get(s.SumUsage(t.Context(), store.SumFilter{}))(t)[0].Requests, int64(1))
	check(t, s.AddUsage(t.Context(), []store.Usage{u}))
	same(t, "Usage", get(s.Usage(t.Context(), store.UsageFilter{}))(t), []store.Usage{u})
	same(t, "number", makeVersion(t, s, a.ID).Number, v.Number+1)
}

// check ends the test at an error.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// get makes get(s.API(ctx, id))(t) one expression.
func get[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// refused checks for a neutral error that says what was asked for.
func refused(t *testing.T, err, want error, mentions string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %q", err, want)
	}
	if !strings.Contains(err.Error(), mentions) {
		t.Fatalf("error %q does not mention %q", err, mentions)
	}
}

// fill sets every field of the struct that p points to, so that a field without a column is found out by a round trip.
func fill(p any) {
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		fillField(v.Type().Field(i).Name, v.Field(i), int64(i+1))
	}
}

func fillField(name string, v reflect.Value, n int64) {
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = day.Add(time.Duration(n) * time.Hour).Add(time.Duration(n) * time.Microsecond)
		return
	case *time.Duration:
		*p = time.Duration(n) * time.Millisecond
		return
	case *store.VersionState:
		*p = store.VersionFailed
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("some " + strings.ToLower(name))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(n)
	case reflect.Float64:
		v.SetFloat(float64(n) + 0.25)
	case reflect.Slice:
		if list, ok := v.Addr().Interface().(*[]string); ok {
			*list = []string{"GET /" + strings.ToLower(name), "* /**"}
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fillField(name, v.Index(i), n*10+int64(i))
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{name: "some value"}))
	case reflect.Array:
		reflect.Copy(v, reflect.ValueOf([]byte(name+" "+store.NewID("x"))))
	case reflect.Struct:
		for i := range v.NumField() {
			fillField(v.Type().Field(i).Name, v.Field(i), n*10+int64(i))
		}
	default:
		panic(fmt.Sprintf("storetest: teach fill about %s of %s", name, v.Type()))
	}
}

var day = time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC)

func newAPI(name string) store.API {
	return store.API{ID: store.NewID("api"), Name: name, UserID: store.OperatorID}
}

func makeAPI(t *testing.T, s store.Store, name string) store.API {
	t.Helper()
	return get(s.CreateAPI(t.Context(), newAPI(name)))(t)
}

// updateAPI writes a over what is there.
func updateAPI(ctx context.Context, s store.Store, a store.API) (store.API, error) {
	return s.ChangeAPI(ctx, a.ID, func(store.API) (store.API, error) { return a, nil })
}

func makeVersion(t *testing.T, s store.Store, apiID string) store.Version {
	t.Helper()
	v := store.Version{APIID: apiID, Code: "app = 1", Requirements: "fastapi", State: store.VersionReady}
	return get(s.AddVersion(t.Context(), v))(t)
}

func makeKey(t *testing.T, s store.Store, apiID string) store.Key {
	t.Helper()
	_, visible, hash := store.NewSecret(store.KeySecretPrefix)
	return get(s.CreateKey(t.Context(), store.Key{ID: store.NewID("key"), APIID: apiID, Prefix: visible, Hash: hash}))(t)
}

func makeToken(t *testing.T, s store.Store) store.Token {
	t.Helper()
	_, visible, hash := store.NewSecret(store.TokenSecretPrefix)
	return get(s.CreateToken(t.Context(), store.Token{ID: store.NewID("tok"), Name: "ci", Prefix: visible, Hash: hash}))(t)
}

func usageRecord(id, apiID string) store.Usage {
	return store.Usage{ID: id, APIID: apiID, Version: 1, Time: day, Method: "GET", Path: "/", Status: 200}
}

// recent fails for a time that was not taken just now or that has more than microseconds.
func recent(t *testing.T, what string, at time.Time) {
	t.Helper()
	if since := time.Since(at); since < 0 || since > time.Minute {
		t.Fatalf("%s is %v, not now", what, at)
	}
	if at.Location() != time.UTC || !at.Equal(at.Truncate(time.Microsecond)) {
		t.Fatalf("%s is %v, not in UTC and microseconds", what, at)
	}
}
