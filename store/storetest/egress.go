package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"apibuilder/store"
)

var egressTests = map[string]func(*testing.T, store.Store){
	"by everything":          egressBy,
	"exactly once":           egressOnce,
	"never overflow":         egressOverflow,
	"strange text":           egressText,
	"prune":                  egressPrune,
	"follow the owner":       egressOwner,
	"what cannot be told of": egressRefused,
}

// reached is a batch some hours after midnight of the first day.
func reached(number int64, hours float64, uses ...store.EgressUse) store.EgressBatch {
	return store.EgressBatch{Source: "start_1", Number: number, Time: day.Add(time.Duration(hours * float64(time.Hour))), Uses: uses}
}

func towards(api, to string, connections, sent, received, refused int64) store.EgressUse {
	return store.EgressUse{APIID: api, To: to, Connections: connections, Sent: sent, Received: received, Refused: refused}
}

func egressSums(t *testing.T, s store.Store, f store.EgressFilter) []string {
	t.Helper()
	all := []string{}
	for _, one := range get(s.SumEgress(t.Context(), f))(t) {
		at := ""
		if !one.Start.IsZero() {
			at = one.Start.Format("2T15 ")
		}
		all = append(all, fmt.Sprintf("%s%s/%s/%s %d %d %d %d", at, one.APIID, one.UserID, one.To, one.Connections, one.Sent, one.Received, one.Refused))
	}
	return all
}

func egressBy(t *testing.T, s store.Store) {
	same(t, "nothing yet", egressSums(t, s, store.EgressFilter{}), []string{"// 0 0 0 0"})
	same(t, "no hours yet", egressSums(t, s, store.EgressFilter{By: store.EgressByHour}), []string{})
	a := newAPI("a")
	a.ID = "api_a"
	get(s.CreateAPI(t.Context(), a))(t)
	check(t, s.AddEgress(t.Context(), reached(1, 0.5, towards("api_a", "x:443", 1, 10, 100, 0), towards("api_b", "x:443", 2, 20, 200, 0))))
	check(t, s.AddEgress(t.Context(), reached(2, 0.9, towards("api_a", "x:443", 1, 1, 1, 0), towards("api_a", "y", 0, 0, 0, 7))))
	check(t, s.AddEgress(t.Context(), reached(3, 25, towards("api_a", "x:443", 1, 1, 1, 0), towards("api_a", "x:443", 1, 1, 1, 0))))
	for _, c := range []struct {
		f    store.EgressFilter
		want []string
	}{
		{store.EgressFilter{}, []string{"// 6 33 303 7"}},
		{store.EgressFilter{By: store.EgressByHour}, []string{"3T00 // 4 31 301 7", "4T01 // 2 2 2 0"}},
		{store.EgressFilter{By: store.EgressByDay}, []string{"3T00 // 4 31 301 7", "4T00 // 2 2 2 0"}},
		{store.EgressFilter{By: store.EgressByAPI}, []string{"api_a// 4 13 103 7", "api_b// 2 20 200 0"}},
		{store.EgressFilter{By: store.EgressByUser}, []string{"// 2 20 200 0", "/operator/ 4 13 103 7"}},
		{store.EgressFilter{By: store.EgressByDestination}, []string{"api_a//x:443 4 13 103 0", "api_a//y 0 0 0 7", "api_b//x:443 2 20 200 0"}},
		{store.EgressFilter{By: store.EgressByDestination, APIID: "api_b"}, []string{"api_b//x:443 2 20 200 0"}},
		{store.EgressFilter{By: store.EgressByAPI, UserID: store.OperatorID}, []string{"api_a// 4 13 103 7"}},
		{store.EgressFilter{Since: day.Add(90 * time.Minute)}, []string{"// 2 2 2 0"}},
		{store.EgressFilter{Since: day.Add(30 * time.Minute), By: store.EgressByDay}, []string{"3T00 // 4 31 301 7", "4T00 // 2 2 2 0"}},
	} {
		same(t, fmt.Sprintf("%+v", c.f), egressSums(t, s, c.f), c.want)
	}
}

func egressOnce(t *testing.T, s store.Store) {
	first := reached(1, 0, towards("api_1", "x:443", 1, 1, 1, 0))
	for range 3 {
		check(t, s.AddEgress(t.Context(), first))
	}
	second := first
	second.Number = 2
	other := first
	other.Source = "start_2"
	check(t, s.AddEgress(t.Context(), second))
	check(t, s.AddEgress(t.Context(), other))
	check(t, s.AddEgress(t.Context(), first))
	for _, by := range []store.EgressBy{store.EgressByHour, store.EgressByDay} {
		same(t, string(by), egressSums(t, s, store.EgressFilter{By: by}), []string{"3T00 // 3 3 3 0"})
	}
	check(t, s.AddEgress(t.Context(), reached(3, 0)))
	refused(t, s.AddEgress(t.Context(), store.EgressBatch{Number: 4}), store.ErrInvalid, "source")
	refused(t, s.AddEgress(t.Context(), store.EgressBatch{Source: "x"}), store.ErrInvalid, "number")
}

func egressOverflow(t *testing.T, s store.Store) {
	for i := range int64(3) {
		check(t, s.AddEgress(t.Context(), reached(i+1, 0, towards("api_1", "x:443", 1<<62, 1<<62, -5, 1<<62), towards("api_1", "x:443", 1<<62, 0, 0, 0))))
	}
	one := get(s.SumEgress(t.Context(), store.EgressFilter{}))(t)[0]
	if one.Connections <= 0 || one.Sent <= 0 || one.Received != 0 || one.Refused <= 0 {
		t.Fatalf("%+v", one)
	}
}

func egressText(t *testing.T, s store.Store) {
	var uses []store.EgressUse
	for _, text := range append(strange, strings.Repeat("x", 1000), strings.Repeat("é", 200)) {
		uses = append(uses, towards("api_1", text, 1, 0, 0, 0))
	}
	check(t, s.AddEgress(t.Context(), reached(1, 0, uses...)))
	same(t, "all", get(s.SumEgress(t.Context(), store.EgressFilter{}))(t)[0].Connections, int64(len(uses)))
	for _, one := range get(s.SumEgress(t.Context(), store.EgressFilter{By: store.EgressByDestination}))(t) {
		if len(one.To) > 300 || strings.Contains(one.To, "\x00") {
			t.Errorf("%q is stored", one.To)
		}
	}
	same(t, "of nobody", egressSums(t, s, store.EgressFilter{APIID: "\x00", By: store.EgressByAPI}), []string{})
}

func egressPrune(t *testing.T, s store.Store) {
	check(t, s.AddEgress(t.Context(), reached(1, 0, towards("api_1", "x:443", 1, 1, 1, 0))))
	check(t, s.AddEgress(t.Context(), reached(2, 2, towards("api_1", "x:443", 1, 1, 1, 0))))
	get(s.PruneUsage(t.Context(), time.Time{}, day.Add(time.Hour), 100))(t)
	same(t, "hours", egressSums(t, s, store.EgressFilter{By: store.EgressByHour}), []string{"3T02 // 1 1 1 0"})
	same(t, "days", egressSums(t, s, store.EgressFilter{By: store.EgressByDay}), []string{"3T00 // 2 2 2 0"})
}

func egressOwner(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "a")
	user := get(s.CreateUser(t.Context(), store.User{ID: "user_1", Name: "ann", Plan: store.DefaultPlan}))(t)
	check(t, s.AddEgress(t.Context(), reached(1, 0, towards(a.ID, "x:443", 1, 0, 0, 0))))
	get(s.ChangeAPI(t.Context(), a.ID, func(now store.API) (store.API, error) {
		now.UserID = user.ID
		return now, nil
	}))(t)
	check(t, s.AddEgress(t.Context(), reached(2, 0, towards(a.ID, "x:443", 2, 0, 0, 0))))
	check(t, s.DeleteAPI(t.Context(), a.ID))
	check(t, s.AddEgress(t.Context(), reached(3, 0, towards(a.ID, "x:443", 4, 0, 0, 0))))
	same(t, "by user", egressSums(t, s, store.EgressFilter{By: store.EgressByUser}), []string{"// 4 0 0 0", "/operator/ 1 0 0 0", "/user_1/ 2 0 0 0"})
}

func egressRefused(t *testing.T, s store.Store) {
	_, err := s.SumEgress(t.Context(), store.EgressFilter{By: "colour"})
	refused(t, err, store.ErrInvalid, "colour")
}
