package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"apibuilder/store"
)

func withHost(a store.API, host string) store.API {
	a.Options.Host = host
	return a
}

func apiHosts(t *testing.T, s store.Store) {
	same(t, "Hosts", get(s.Hosts(t.Context()))(t), map[string]string{})
	a, b := makeAPI(t, s, "a"), makeAPI(t, s, "b")
	get(updateAPI(t.Context(), s, withHost(a, "a.example")))(t)
	get(updateAPI(t.Context(), s, withHost(a, "a.example")))(t) // its own
	c := get(s.CreateAPI(t.Context(), withHost(newAPI("c"), "c.example")))(t)
	same(t, "Hosts", get(s.Hosts(t.Context()))(t), map[string]string{"a.example": a.ID, "c.example": c.ID})

	_, err := updateAPI(t.Context(), s, withHost(b, "a.example"))
	refused(t, err, store.ErrConflict, "a.example")
	_, err = s.CreateAPI(t.Context(), withHost(newAPI("d"), "c.example"))
	refused(t, err, store.ErrConflict, "c.example")

	get(updateAPI(t.Context(), s, withHost(a, "")))(t)
	check(t, s.DeleteAPI(t.Context(), c.ID))
	same(t, "Hosts", get(s.Hosts(t.Context()))(t), map[string]string{})
	get(updateAPI(t.Context(), s, withHost(b, "a.example")))(t)
	same(t, "Hosts", get(s.Hosts(t.Context()))(t), map[string]string{"a.example": b.ID})
}

func apiHostsAtOnce(t *testing.T, s store.Store) {
	var group sync.WaitGroup
	var won atomic.Int32
	for i := range 8 {
		a := makeAPI(t, s, fmt.Sprintf("a%d", i))
		group.Go(func() {
			switch _, err := updateAPI(t.Context(), s, withHost(a, "a.example")); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, store.ErrConflict):
				t.Errorf("ChangeAPI: %v", err)
			}
		})
	}
	group.Wait()
	if won.Load() != 1 {
		t.Errorf("%d APIs have the same host", won.Load())
	}
}
