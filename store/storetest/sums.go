package storetest

import (
	"fmt"
	"testing"
	"time"

	"apibuilder/store"
)

var sumTests = map[string]func(*testing.T, store.Store){
	"by everything":          sumBy,
	"by route":               sumByRoute,
	"since":                  sumSince,
	"exactly once":           sumOnce,
	"equal the records":      sumEqual,
	"never overflow":         sumOverflow,
	"outlive APIs, records":  sumOutlive,
	"prune":                  sumPrune,
	"follow the owner":       sumOwner,
	"what cannot be told of": sumRefused,
}

// used is a record at some hours after midnight of the first day.
func used(id, api, key string, hours float64) store.Usage {
	u := usageRecord(id, api)
	u.KeyID, u.Time = key, day.Add(time.Duration(hours*float64(time.Hour)))
	u.BytesIn, u.BytesOut, u.Duration, u.StartWait, u.CPU = 1, 10, time.Millisecond, time.Microsecond, 2*time.Microsecond
	return u
}

func refusedOne(u store.Usage) store.Usage {
	u.Status, u.Error = 429, "rate_limited"
	return u
}

func some(t *testing.T, s store.Store) (a store.API) {
	t.Helper()
	a, b := newAPI("a"), newAPI("b")
	a.ID, b.ID = "api_a", "api_b"
	a, b = get(s.CreateAPI(t.Context(), a))(t), get(s.CreateAPI(t.Context(), b))(t)
	failed, own := used("6", b.ID, "", 49), used("7", b.ID, "", 49)
	failed.Status, own.Status = 502, 429 // the latter is the program's own
	check(t, s.AddUsage(t.Context(), []store.Usage{
		used("1", a.ID, "k1", 0), used("2", a.ID, "k1", 0.99), used("3", a.ID, "k2", 1), refusedOne(used("4", a.ID, "k1", 25)),
		used("5", a.ID, "", 25), failed, own,
	}))
	return a
}

// brief is a sum without what is easily told from the number of its requests.
func brief(s store.Sum) string {
	if s.BytesOut != 10*s.Requests || s.BytesIn != s.Requests || s.Duration != time.Duration(s.Requests)*time.Millisecond ||
		s.StartWait != time.Duration(s.Requests)*time.Microsecond || s.CPU != 2*s.StartWait {
		return fmt.Sprintf("%+v", s)
	}
	at := ""
	if !s.Start.IsZero() {
		at = s.Start.Format("2T15 ")
	}
	return fmt.Sprintf("%s%s/%s/%s %d %d %d %d", at, s.APIID, s.KeyID, s.UserID, s.Requests, s.Admitted, s.ClientErrors, s.ServerErrors)
}

func sums(t *testing.T, s store.Store, f store.SumFilter) []string {
	t.Helper()
	all := []string{}
	for _, one := range get(s.SumUsage(t.Context(), f))(t) {
		all = append(all, brief(one))
	}
	return all
}

func sumBy(t *testing.T, s store.Store) {
	same(t, "nothing yet", sums(t, s, store.SumFilter{}), []string{"// 0 0 0 0"})
	same(t, "no hours yet", sums(t, s, store.SumFilter{By: store.ByHour}), []string{})
	some(t, s)
	for _, c := range []struct {
		f    store.SumFilter
		want []string
	}{
		{store.SumFilter{}, []string{"// 7 6 2 1"}},
		{store.SumFilter{By: store.ByHour, UserID: store.OperatorID}, []string{"3T00 // 2 2 0 0", "3T01 // 1 1 0 0", "4T01 // 2 1 1 0", "5T01 // 2 2 1 1"}},
		{store.SumFilter{By: store.ByHour}, []string{"3T00 // 2 2 0 0", "3T01 // 1 1 0 0", "4T01 // 2 1 1 0", "5T01 // 2 2 1 1"}},
		{store.SumFilter{By: store.ByDay}, []string{"3T00 // 3 3 0 0", "4T00 // 2 1 1 0", "5T00 // 2 2 1 1"}},
		{store.SumFilter{By: store.ByAPI}, []string{"api_a// 5 4 1 0", "api_b// 2 2 1 1"}},
		{store.SumFilter{By: store.ByKey}, []string{"api_a// 1 1 0 0", "api_a/k1/ 3 2 1 0", "api_a/k2/ 1 1 0 0", "api_b// 2 2 1 1"}},
		{store.SumFilter{By: store.ByUser}, []string{"//operator 7 6 2 1"}},
		{store.SumFilter{APIID: "api_b"}, []string{"// 2 2 1 1"}},
		{store.SumFilter{KeyID: "k1", By: store.ByDay}, []string{"3T00 // 2 2 0 0", "4T00 // 1 0 1 0"}},
		{store.SumFilter{UserID: store.OperatorID, By: store.ByAPI, APIID: "api_a", KeyID: "k2"}, []string{"api_a// 1 1 0 0"}},
		{store.SumFilter{UserID: "user_nobody", By: store.ByAPI}, []string{}},
	} {
		same(t, fmt.Sprintf("%+v", c.f), sums(t, s, c.f), c.want)
	}
}

func sumByRoute(t *testing.T, s store.Store) {
	some(t, s) // their routes are not known
	one, two := used("r1", "api_a", "k1", 3), used("r2", "api_a", "", 30)
	one.Route, two.Route = "/items/{id}", "/items/{id}"
	other, cafe := refusedOne(used("r3", "api_b", "k1", 26)), used("r4", "api_b", "k1", 27)
	other.Route, cafe.Route = "/items/{id}", "/caf\u00e9/{it's}"
	batch := []store.Usage{one, two, other, cafe}
	check(t, s.AddUsage(t.Context(), batch))
	check(t, s.AddUsage(t.Context(), append(batch, one)))
	at := func(hours float64) time.Time { return day.Add(time.Duration(hours * float64(time.Hour))) }
	for _, c := range []struct {
		f    store.SumFilter
		want []string
	}{
		{store.SumFilter{}, []string{"api_a// 5 4 1 0 ", "api_a// 2 2 0 0 /items/{id}", "api_b// 2 2 1 1 ", "api_b// 1 1 0 0 /caf\u00e9/{it's}", "api_b// 1 0 1 0 /items/{id}"}},
		{store.SumFilter{APIID: "api_a"}, []string{"api_a// 5 4 1 0 ", "api_a// 2 2 0 0 /items/{id}"}},
		{store.SumFilter{Since: at(25.5), APIID: "api_a"}, []string{"api_a// 2 1 1 0 ", "api_a// 1 1 0 0 /items/{id}"}}, // from its day
		{store.SumFilter{Since: at(24), UserID: store.OperatorID, APIID: "api_a"}, []string{"api_a// 2 1 1 0 ", "api_a// 1 1 0 0 /items/{id}"}},
		{store.SumFilter{UserID: "user_nobody"}, []string{}},
	} {
		c.f.By = store.ByRoute
		got := []string{}
		for _, one := range get(s.SumUsage(t.Context(), c.f))(t) {
			got = append(got, brief(one)+" "+one.Route)
		}
		same(t, fmt.Sprintf("%+v", c.f), got, c.want)
	}
	_, err := s.SumUsage(t.Context(), store.SumFilter{By: store.ByRoute, KeyID: "k1"})
	refused(t, err, store.ErrInvalid, "key")
	get(s.PruneUsage(t.Context(), time.Time{}, at(48), 100))(t)
	same(t, "after pruning", len(get(s.SumUsage(t.Context(), store.SumFilter{By: store.ByRoute}))(t)), 1)
}

func sumSince(t *testing.T, s store.Store) {
	some(t, s)
	at := func(hours float64) time.Time { return day.Add(time.Duration(hours * float64(time.Hour))) }
	for _, c := range []struct {
		f    store.SumFilter
		want []string
	}{
		{store.SumFilter{Since: at(0)}, []string{"// 7 6 2 1"}},
		{store.SumFilter{Since: at(0.99)}, []string{"// 7 6 2 1"}}, // from the beginning of its hour
		{store.SumFilter{Since: at(1)}, []string{"// 5 4 2 1"}},
		{store.SumFilter{Since: at(1.5), By: store.ByDay}, []string{"3T00 // 1 1 0 0", "4T00 // 2 1 1 0", "5T00 // 2 2 1 1"}},
		{store.SumFilter{Since: at(2), By: store.ByAPI}, []string{"api_a// 2 1 1 0", "api_b// 2 2 1 1"}},
		{store.SumFilter{Since: at(24), By: store.ByHour}, []string{"4T01 // 2 1 1 0", "5T01 // 2 2 1 1"}},
		{store.SumFilter{Since: at(26), By: store.ByDay}, []string{"5T00 // 2 2 1 1"}},
		{store.SumFilter{Since: at(100)}, []string{"// 0 0 0 0"}},
	} {
		same(t, fmt.Sprintf("%+v", c.f), sums(t, s, c.f), c.want)
	}
}

func sumOnce(t *testing.T, s store.Store) {
	batch := []store.Usage{used("1", "api_1", "k", 0), used("2", "api_1", "k", 0), used("1", "api_1", "k", 0)}
	for range 3 {
		check(t, s.AddUsage(t.Context(), batch))
	}
	check(t, s.AddUsage(t.Context(), append(batch, used("3", "api_1", "k", 0))))
	for _, by := range []store.SumBy{store.ByHour, store.ByDay} {
		same(t, string(by), sums(t, s, store.SumFilter{By: by}), []string{"3T00 // 3 3 0 0"})
	}
	err := s.AddUsage(t.Context(), []store.Usage{used("4", "api_1", "k", 0), {}})
	refused(t, err, store.ErrInvalid, "id")
	same(t, "after what was refused", sums(t, s, store.SumFilter{}), []string{"// 3 3 0 0"})
}

// sumEqual compares the sums of many records all over four days with what is counted from the records.
func sumEqual(t *testing.T, s store.Store) {
	want := map[string]int64{}
	var batch []store.Usage
	for i := range 3000 {
		u := used(fmt.Sprint(i), fmt.Sprintf("api_%d", i*i%7), fmt.Sprintf("k%d", i%5), float64(i*37%1000)/10)
		want[u.Time.Truncate(time.Hour).String()+u.APIID+u.KeyID]++
		if batch = append(batch, u); len(batch) == 500 {
			check(t, s.AddUsage(t.Context(), batch))
			batch = batch[:250] // half of it again
		}
	}
	check(t, s.AddUsage(t.Context(), batch))
	same(t, "all", sums(t, s, store.SumFilter{}), []string{"// 3000 3000 0 0"})
	var byKey, byHour int64
	for _, one := range get(s.SumUsage(t.Context(), store.SumFilter{By: store.ByKey}))(t) {
		byKey += one.Requests
	}
	for api := range 7 {
		for _, one := range get(s.SumUsage(t.Context(), store.SumFilter{By: store.ByHour, APIID: fmt.Sprintf("api_%d", api), KeyID: "k1"}))(t) {
			byHour++
			same(t, "an hour", one.Requests, want[one.Start.String()+fmt.Sprintf("api_%d", api)+"k1"])
		}
	}
	same(t, "by key", byKey, int64(3000))
	if byHour == 0 {
		t.Fatal("no hour was compared")
	}
}

func sumOverflow(t *testing.T, s store.Store) {
	for i := range 3 {
		u := used(fmt.Sprint(i), "api_1", "k", 0)
		u.BytesIn, u.BytesOut, u.Duration, u.StartWait, u.CPU = 1<<62, -5, 1<<62, -1, 1<<62
		check(t, s.AddUsage(t.Context(), []store.Usage{u}))
	}
	one := get(s.SumUsage(t.Context(), store.SumFilter{}))(t)[0]
	if one.Requests != 3 || one.BytesIn <= 0 || one.BytesOut != 0 || one.Duration <= 0 || one.StartWait != 0 {
		t.Fatalf("%+v", one)
	}
}

func sumOutlive(t *testing.T, s store.Store) {
	a := some(t, s)
	check(t, s.DeleteAPI(t.Context(), a.ID))
	same(t, "by API", sums(t, s, store.SumFilter{By: store.ByAPI}), []string{"api_a// 5 4 1 0", "api_b// 2 2 1 1"})
	same(t, "by user", sums(t, s, store.SumFilter{By: store.ByUser}), []string{"//operator 7 6 2 1"})
	check(t, s.AddUsage(t.Context(), []store.Usage{used("late", a.ID, "k1", 50)}))
	same(t, "by user", sums(t, s, store.SumFilter{By: store.ByUser}), []string{"// 1 1 0 0", "//operator 7 6 2 1"})
}

func sumPrune(t *testing.T, s store.Store) {
	some(t, s)
	at := func(hours int) time.Time { return day.Add(time.Duration(hours) * time.Hour) }
	same(t, "one at a time", get(s.PruneUsage(t.Context(), at(24), time.Time{}, 1))(t), int64(1))
	same(t, "the oldest first", get(s.Usage(t.Context(), store.UsageFilter{}))(t)[5].ID, "2")
	same(t, "the others", get(s.PruneUsage(t.Context(), at(24), time.Time{}, 100))(t), int64(2))
	same(t, "no more", get(s.PruneUsage(t.Context(), at(24), time.Time{}, 100))(t), int64(0))
	same(t, "records", len(get(s.Usage(t.Context(), store.UsageFilter{}))(t)), 4)
	same(t, "sums", sums(t, s, store.SumFilter{}), []string{"// 7 6 2 1"})
	same(t, "CountUsage", get(s.CountUsage(t.Context(), "", "", time.Time{}))(t), int64(7))
	get(s.PruneUsage(t.Context(), time.Time{}, at(1), 100))(t)
	same(t, "hours", sums(t, s, store.SumFilter{By: store.ByHour}), []string{"3T01 // 1 1 0 0", "4T01 // 2 1 1 0", "5T01 // 2 2 1 1"})
	same(t, "days", sums(t, s, store.SumFilter{By: store.ByDay}), []string{"3T00 // 3 3 0 0", "4T00 // 2 1 1 0", "5T00 // 2 2 1 1"})
	same(t, "nothing asked for", get(s.PruneUsage(t.Context(), time.Time{}, time.Time{}, 100))(t), int64(0))
}

func sumOwner(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "a")
	user := get(s.CreateUser(t.Context(), store.User{ID: "user_1", Name: "ann", Plan: store.DefaultPlan}))(t)
	check(t, s.AddUsage(t.Context(), []store.Usage{used("1", a.ID, "", 0)}))
	a.UserID = user.ID
	get(updateAPI(t.Context(), s, a))(t)
	check(t, s.AddUsage(t.Context(), []store.Usage{used("2", a.ID, "", 0)}))
	same(t, "by user", sums(t, s, store.SumFilter{By: store.ByUser}), []string{"//operator 1 1 0 0", "//user_1 1 1 0 0"})
}

func sumRefused(t *testing.T, s store.Store) {
	_, err := s.SumUsage(t.Context(), store.SumFilter{By: "colour"})
	refused(t, err, store.ErrInvalid, "colour")
	same(t, "strange text", sums(t, s, store.SumFilter{APIID: "\x00", By: store.ByAPI}), []string{})
}
