package storetest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"apibuilder/store"
)

// keeper is what a store is that can be backed up.
type keeper interface {
	store.Store
	store.Dumper
	store.Loader
}

type cells struct {
	table string
	row   store.Cells
}

// Copied is a new store that a backup of another one was restored into.
func Copied(t *testing.T, from store.Dumper, open Opener) store.Store {
	t.Helper()
	to := open(t).(keeper)
	check(t, to.Load(t.Context(), false, replay(dump(t, from))))
	return to
}

func dump(t *testing.T, s store.Dumper) (all []cells) {
	t.Helper()
	check(t, s.Dump(t.Context(), func(table string, c store.Cells) error {
		all = append(all, cells{table, c})
		return nil
	}))
	return all
}

func replay(all []cells) func() (string, store.Cells, error) {
	return func() (string, store.Cells, error) {
		if len(all) == 0 {
			return "", nil, io.EOF
		}
		one := all[0]
		all = all[1:]
		return one.table, one.row, nil
	}
}

// RunDump checks that everything that from holds comes back from to, which may be another driver's. Each call of an opener
// returns a new store.
func RunDump(t *testing.T, from, to Opener) {
	source, target := from(t).(keeper), to(t).(keeper)
	var a store.API
	fill(&a)
	a.Name, a.UserID, a.ActiveVersion = "resize", store.OperatorID, 0
	get(source.CreateAPI(t.Context(), a))(t)
	var v store.Version
	fill(&v)
	v.APIID, v.Code = a.ID, strange[0]+strange[3]+strange[6]
	v = get(source.AddVersion(t.Context(), v))(t)
	check(t, source.PutBundle(t.Context(), a.ID, "ab", binary))
	check(t, source.Activate(t.Context(), a.ID, v.Number))
	k, tok := makeKey(t, source, a.ID), makeToken(t, source)
	get(source.CreateUser(t.Context(), store.User{ID: "user_1", Name: "ann", Plan: store.DefaultPlan}))(t)
	check(t, source.PutPlan(t.Context(), store.Plan{Name: "gold", Limits: store.Limits{CPU: 0.1}}))
	check(t, source.AddExit(t.Context(), store.Exit{APIID: a.ID, Reason: "crashed"}))
	for i := range 3 {
		check(t, source.AddUsage(t.Context(), []store.Usage{usageRecord(fmt.Sprint(i), a.ID)}))
	}
	check(t, source.AddEgress(t.Context(), reached(1, 0, towards(a.ID, "x:443", 1, 2, 3, 4))))
	all := dump(t, source)
	check(t, target.Load(t.Context(), false, replay(all)))

	same(t, "API", get(target.API(t.Context(), a.ID))(t), get(source.API(t.Context(), a.ID))(t))
	same(t, "Version", get(target.Version(t.Context(), a.ID, 1))(t), v)
	same(t, "Bundle", get(target.Bundle(t.Context(), a.ID, "ab"))(t), binary)
	same(t, "Key", get(target.KeyByHash(t.Context(), k.Hash))(t), k)
	same(t, "Token", get(target.TokenByHash(t.Context(), tok.Hash))(t), tok)
	same(t, "Users", get(target.Users(t.Context()))(t), get(source.Users(t.Context()))(t))
	same(t, "Plans", get(target.Plans(t.Context()))(t), get(source.Plans(t.Context()))(t))
	same(t, "Exits", get(target.Exits(t.Context(), a.ID, 9))(t), get(source.Exits(t.Context(), a.ID, 9))(t))
	same(t, "Usage", get(target.Usage(t.Context(), store.UsageFilter{}))(t), get(source.Usage(t.Context(), store.UsageFilter{}))(t))
	byHour := store.EgressFilter{By: store.EgressByHour}
	same(t, "SumEgress", get(target.SumEgress(t.Context(), byHour))(t), get(source.SumEgress(t.Context(), byHour))(t))
	makeKey(t, target, a.ID) // numbers go on after those that were restored
	check(t, target.AddUsage(t.Context(), []store.Usage{usageRecord("late", a.ID), usageRecord("1", a.ID)}))
	same(t, "CountUsage", get(target.CountUsage(t.Context(), "", "", day))(t), int64(4))

	refused(t, target.Load(t.Context(), false, replay(all)), store.ErrConflict, "")
	broken := append(all[:len(all):len(all)], cells{"apis", store.Cells{"colour": "red"}})
	refused(t, target.Load(t.Context(), true, replay(broken)), store.ErrInvalid, "colour")
	refused(t, target.Load(t.Context(), true, replay([]cells{{"apis", store.Cells{}}})), store.ErrInvalid, "no column")
	stop := errors.New("torn")
	if err := target.Load(t.Context(), true, func() (string, store.Cells, error) { return "", nil, stop }); !errors.Is(err, stop) {
		t.Errorf("error is %v", err)
	}
	same(t, "CountUsage after what failed", get(target.CountUsage(t.Context(), "", "", day))(t), int64(4))
	claim(t, target, newAnswer(1))
	check(t, target.Load(t.Context(), true, replay(all)))
	if _, claimed := claim(t, target, newAnswer(1)); !claimed {
		t.Error("an answer to a request of before the restore is left: what it tells of is gone")
	}
	same(t, "CountUsage", get(target.CountUsage(t.Context(), "", "", day))(t), int64(3))
}

// RunOldDump checks that a backup of before there were sums, or some of them, has the sums of what it holds.
func RunOldDump(t *testing.T, open Opener) {
	source := open(t).(keeper)
	a := newAPI("a")
	a.ID = "api_a"
	get(source.CreateAPI(t.Context(), a))(t)
	k := makeKey(t, source, a.ID)
	records := []store.Usage{used("", a.ID, k.ID, 0), used("", a.ID, k.ID, 26), used("", "api_gone", "key_gone", 26), refusedOne(used("", a.ID, "", 26))}
	for i := range records {
		records[i].ID, records[i].Route = fmt.Sprint(i), "" // it was not known then
	}
	check(t, source.AddUsage(t.Context(), records))
	all := dump(t, source)
	for _, missing := range [][]string{
		{"usage_hours", "usage_days", "usage_totals", "usage_routes", "key_uses"}, {"usage_totals", "usage_routes"}, {"usage_routes"}, nil,
	} {
		old := slices.DeleteFunc(slices.Clone(all), func(c cells) bool { return slices.Contains(missing, c.table) })
		target := open(t).(keeper)
		check(t, target.Load(t.Context(), false, replay(old)))
		for _, by := range []store.SumBy{store.ByHour, store.ByDay, store.ByKey, store.ByUser, store.ByRoute} {
			f := store.SumFilter{By: by}
			same(t, fmt.Sprintf("without %v, sums by %s", missing, by), get(target.SumUsage(t.Context(), f))(t), get(source.SumUsage(t.Context(), f))(t))
		}
		same(t, fmt.Sprintf("without %v, Keys", missing), get(target.Keys(t.Context(), a.ID))(t), get(source.Keys(t.Context(), a.ID))(t))
	}
}
