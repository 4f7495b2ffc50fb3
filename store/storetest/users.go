package storetest

import (
	"testing"

	"apibuilder/store"
)

var userTests = map[string]func(*testing.T, store.Store){
	"born with an operator": userBorn,
	"round trip":            userRoundTrip,
	"conflicts":             userConflicts,
	"not found":             userNotFound,
	"set plan":              userSetPlan,
	"plans":                 planTests,
}

func userBorn(t *testing.T, s store.Store) {
	u := get(s.User(t.Context(), store.OperatorID))(t)
	recent(t, "CreatedAt", u.CreatedAt)
	same(t, "operator", u, store.User{ID: store.OperatorID, Name: "operator", Plan: store.DefaultPlan, CreatedAt: u.CreatedAt})
	same(t, "Users", get(s.Users(t.Context()))(t), []store.User{u})
	p := get(s.Plan(t.Context(), store.DefaultPlan))(t)
	same(t, "default plan", p, store.Plan{Name: store.DefaultPlan})
	same(t, "unlimited", p.Rate.Unlimited(), true)
	same(t, "Plans", get(s.Plans(t.Context()))(t), []store.Plan{p})
	same(t, "APIs", len(get(s.APIs(t.Context()))(t)), 0)
	check(t, s.Ping(t.Context()))
}

func userRoundTrip(t *testing.T, s store.Store) {
	var u store.User
	fill(&u)
	u.Plan = store.DefaultPlan
	same(t, "CreateUser", get(s.CreateUser(t.Context(), u))(t), u)
	same(t, "User by id", get(s.User(t.Context(), u.ID))(t), u)
	same(t, "User by name", get(s.User(t.Context(), u.Name))(t), u)

	twin := store.User{ID: "user_2", Name: u.ID, Plan: store.DefaultPlan}
	twin = get(s.CreateUser(t.Context(), twin))(t)
	recent(t, "CreatedAt", twin.CreatedAt)
	same(t, "an id wins over a name", get(s.User(t.Context(), u.ID))(t), u)
	operator := get(s.User(t.Context(), store.OperatorID))(t)
	same(t, "Users", get(s.Users(t.Context()))(t), []store.User{operator, twin, u})
}

func userConflicts(t *testing.T, s store.Store) {
	get(s.CreateUser(t.Context(), store.User{ID: "user_1", Name: "ann", Plan: store.DefaultPlan}))(t)
	_, err := s.CreateUser(t.Context(), store.User{ID: "user_2", Name: "ann", Plan: store.DefaultPlan})
	refused(t, err, store.ErrConflict, "ann")
	_, err = s.CreateUser(t.Context(), store.User{ID: "user_1", Name: "bob", Plan: store.DefaultPlan})
	refused(t, err, store.ErrConflict, "bob")
	same(t, "users", len(get(s.Users(t.Context()))(t)), 2)
}

func userNotFound(t *testing.T, s store.Store) {
	_, err := s.User(t.Context(), "nobody")
	refused(t, err, store.ErrNotFound, "nobody")
	_, err = s.CreateUser(t.Context(), store.User{ID: "user_1", Name: "ann", Plan: "gold"})
	refused(t, err, store.ErrNotFound, "gold")
	_, err = s.CreateUser(t.Context(), store.User{ID: "user_1", Plan: store.DefaultPlan})
	refused(t, err, store.ErrInvalid, "user name")
	same(t, "users", len(get(s.Users(t.Context()))(t)), 1)
}

func userSetPlan(t *testing.T, s store.Store) {
	check(t, s.PutPlan(t.Context(), store.Plan{Name: "gold"}))
	check(t, s.SetUserPlan(t.Context(), store.OperatorID, "gold"))
	same(t, "plan", get(s.User(t.Context(), store.OperatorID))(t).Plan, "gold")
	refused(t, s.SetUserPlan(t.Context(), store.OperatorID, "silver"), store.ErrNotFound, `plan "silver"`)
	refused(t, s.SetUserPlan(t.Context(), "user_nobody", "gold"), store.ErrNotFound, `user "user_nobody"`)
	same(t, "plan", get(s.User(t.Context(), store.OperatorID))(t).Plan, "gold")
}

func planTests(t *testing.T, s store.Store) {
	var p store.Plan
	fill(&p)
	p.Rate.Per++ // nanoseconds are kept: cut to microseconds a short span would mean no limit
	check(t, s.PutPlan(t.Context(), p))
	same(t, "Plan", get(s.Plan(t.Context(), p.Name))(t), p)
	p.Rate.Requests++
	p.Limits, p.Ceiling = p.Ceiling, p.Limits
	check(t, s.PutPlan(t.Context(), p))
	same(t, "Plan", get(s.Plan(t.Context(), p.Name))(t), p)
	check(t, s.PutPlan(t.Context(), store.Plan{Name: "a plan"}))
	same(t, "Plans", get(s.Plans(t.Context()))(t), []store.Plan{{Name: "a plan"}, {Name: store.DefaultPlan}, p})
	_, err := s.Plan(t.Context(), "silver")
	refused(t, err, store.ErrNotFound, "silver")
	refused(t, s.PutPlan(t.Context(), store.Plan{}), store.ErrInvalid, "plan name")
	p.Ceiling.Pids = -1
	refused(t, s.PutPlan(t.Context(), p), store.ErrInvalid, "-1 processes")
	p.Ceiling = store.Limits{} // zero means the server's, and comes back as zero
	check(t, s.PutPlan(t.Context(), p))
	same(t, "Plan", get(s.Plan(t.Context(), p.Name))(t), p)
}
