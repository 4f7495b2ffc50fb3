package storetest

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"apibuilder/store"
)

// raceTests have several writers change parts of one row at the same moment.
var raceTests = map[string]func(*testing.T, store.Store){
	"parts of an API": raceAPI, "parts of a plan": racePlan, "a new plan": raceNewPlan, "checks": checksHold, "one wins": raceCheck,
}

// raceAPI adds to a list and to a number from many goroutines: none is lost.
func raceAPI(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 5 {
				_, err := s.ChangeAPI(t.Context(), a.ID, func(now store.API) (store.API, error) {
					if i%2 == 0 {
						now.Options.Quota++
					} else {
						now.Options.PublicPaths = append(now.Options.PublicPaths, fmt.Sprintf("/%d/%d", i, j))
					}
					return now, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	a = get(s.API(t.Context(), a.ID))(t)
	if a.Options.Quota != 20 || len(a.Options.PublicPaths) != 20 {
		t.Errorf("changes were lost: %+v", a.Options)
	}
}

func racePlan(t *testing.T, s store.Store) {
	check(t, s.PutPlan(t.Context(), store.Plan{Name: "gold"}))
	addToPlan(t, s)
}

// raceNewPlan has every writer find no plan, or that of another one.
func raceNewPlan(t *testing.T, s store.Store) { addToPlan(t, s) }

func addToPlan(t *testing.T, s store.Store) {
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			_, err := s.ChangePlan(t.Context(), "gold", func(now store.Plan, _ bool) (store.Plan, error) {
				now.Quota++
				now.Limits.Pids++
				return now, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if p := get(s.Plan(t.Context(), "gold"))(t); p.Quota != 8 || p.Limits.Pids != 8 {
		t.Errorf("changes were lost: %+v", p)
	}
}

// checksHold refuses each change that takes a check, which is called with the row as it is.
func checksHold(t *testing.T, s store.Store) {
	ctx, no := t.Context(), errors.New("no")
	a := makeAPI(t, s, "resize")
	k, tok := makeKey(t, s, a.ID), makeToken(t, s)
	user := get(s.CreateUser(ctx, store.User{ID: "user_1", Name: "ann", Plan: store.DefaultPlan}))(t)
	check(t, s.PutPlan(ctx, store.Plan{Name: "gold"}))
	var f feed
	defer s.Subscribe(f.add)()
	for what, err := range map[string]error{
		"ChangeAPI": second(s.ChangeAPI(ctx, a.ID, func(now store.API) (store.API, error) {
			same(t, "API", now, a)
			now.Public = true
			return now, no
		})),
		"DeleteAPI":   s.DeleteAPI(ctx, a.ID, func(now store.API) error { same(t, "API", now, a); return no }),
		"RotateKey":   second(s.RotateKey(ctx, k.ID, "p", [32]byte{1}, time.Now(), func(now store.Key) error { same(t, "Key", now, k); return no })),
		"RevokeKey":   second(s.RevokeKey(ctx, k.ID, func(now store.Key) error { same(t, "Key", now, k); return no })),
		"RevokeToken": second(s.RevokeToken(ctx, tok.ID, func(now store.Token) error { same(t, "Token", now, tok); return no })),
		"SetUserPlan": s.SetUserPlan(ctx, user.ID, "gold", func(now store.User) error { same(t, "User", now, user); return no }),
		"ChangePlan": second(s.ChangePlan(ctx, "gold", func(now store.Plan, there bool) (store.Plan, error) {
			same(t, "there", there, true)
			now.Quota = 3
			return now, no
		})),
	} {
		if !errors.Is(err, no) {
			t.Errorf("%s: error is %v, want the check's", what, err)
		}
	}
	same(t, "changes", len(f.take()), 0)
	same(t, "API", get(s.API(ctx, a.ID))(t), a)
	same(t, "Key", get(s.KeyByHash(ctx, k.Hash))(t), k)
	same(t, "Token", get(s.TokenByHash(ctx, tok.Hash))(t), tok)
	same(t, "User", get(s.User(ctx, "ann"))(t), user)
	same(t, "Plan", get(s.Plan(ctx, "gold"))(t), store.Plan{Name: "gold"})

	_, err := s.ChangeAPI(ctx, "api_nobody", func(now store.API) (store.API, error) { return now, nil })
	refused(t, err, store.ErrNotFound, "api_nobody")
	_, err = s.ChangePlan(ctx, "bad", func(now store.Plan, there bool) (store.Plan, error) {
		same(t, "there", there, false)
		now.Quota = -1
		return now, nil
	})
	refused(t, err, store.ErrInvalid, "quota")
}

// raceCheck has writers delete, each if nothing changed since it looked: one of them does.
func raceCheck(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	var group sync.WaitGroup
	var mu sync.Mutex
	won := map[int]bool{}
	stale := errors.New("stale")
	for i := range 8 {
		group.Go(func() {
			_, err := s.ChangeAPI(t.Context(), a.ID, func(now store.API) (store.API, error) {
				if now.Options.Quota != 0 {
					return now, stale
				}
				now.Options.Quota = int64(i + 1)
				return now, nil
			})
			if err != nil && !errors.Is(err, stale) {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			won[i] = err == nil
		})
	}
	group.Wait()
	maps.DeleteFunc(won, func(_ int, yes bool) bool { return !yes })
	if len(won) != 1 {
		t.Errorf("%d writers found it as it was: %v", len(won), won)
	}
}

func second[T any](_ T, err error) error { return err }
