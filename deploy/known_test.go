package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/store"
)

// awayStore answers nothing while it is away, or hangs.
type awayStore struct {
	store.Store
	away bool
	hang bool
}

func (s *awayStore) API(ctx context.Context, ref string) (store.API, error) {
	if s.hang {
		<-ctx.Done()
		return store.API{}, ctx.Err()
	}
	if s.away {
		return store.API{}, fmt.Errorf("read: %w", store.ErrUnavailable)
	}
	return s.Store.API(ctx, ref)
}

// TestWhatRanBeforeRunsWithoutTheStore restarts a program during an outage.
func TestWhatRanBeforeRunsWithoutTheStore(t *testing.T) {
	f := newFixture(t)
	id := f.mustDeploy(t, request("known", "code 1")).API.ID
	st := &awayStore{Store: f.store.Store}
	f.store.Store = st
	st.away = true
	spec, err := f.Source(t.Context(), id, 0)
	if err != nil || spec.Code != "code 1" {
		t.Fatalf("%+v, %v", spec, err)
	}
	if _, err := f.Source(t.Context(), "api_stranger", 0); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error is %v", err)
	}
	if _, err := f.Deploy(t.Context(), request("known", "code 2")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error of a deploy is %v", err)
	}
	st.away = false
	f.mustDeploy(t, request("known", "code 3"))
	st.away = true
	if spec, err := f.Source(t.Context(), id, 0); err != nil || spec.Code != "code 3" {
		t.Errorf("%+v, %v", spec, err)
	}
	st.away = false
	if _, err := f.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	st.away = true
	if _, err := f.Source(t.Context(), id, 0); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a deleted API runs again: %v", err)
	}
}

func TestAStoreThatHangsIsAway(t *testing.T) {
	f := newFixture(t)
	id := f.mustDeploy(t, request("known", "code 1")).API.ID
	f.store.Store = &awayStore{Store: f.store.Store, hang: true}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if spec, err := f.Source(t.Context(), id, 0); err != nil || spec.Code != "code 1" {
			t.Errorf("%+v, %v", spec, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("consumers would wait for %v", took)
		}
	})
}

// TestWhatChangedIsWaitedFor although the store is slow: a start has the settings of before only where the store cannot be read.
func TestWhatChangedIsWaitedFor(t *testing.T) {
	f := newFixture(t)
	id := f.mustDeploy(t, request("known", "code 1")).API.ID
	if _, err := f.Source(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	f.store.Store = &awayStore{Store: f.store.Store, hang: true}
	for _, told := range []string{id, ""} {
		f.Changed(told)
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			if spec, err := f.Source(t.Context(), id, 0); err != nil || spec.Code != "code 1" {
				t.Errorf("%+v, %v", spec, err)
			}
			if took := time.Since(began); took < 5*time.Second {
				t.Errorf("after a change of %q the store has %v to tell of it", told, took)
			}
		})
	}
}
