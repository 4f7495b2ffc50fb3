package cli

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"apibuilder/store"
)

// slowExits takes its time.
type slowExits struct {
	time  time.Duration
	added []string
}

func (s *slowExits) AddExit(ctx context.Context, e store.Exit) error {
	select {
	case <-time.After(s.time):
	case <-ctx.Done():
		return ctx.Err()
	}
	s.added = append(s.added, e.APIID)
	return nil
}

// TestAnEndDoesNotWaitForTheDatabase: until it is told of, requests go to the program that has ended.
func TestAnEndDoesNotWaitForTheDatabase(t *testing.T) {
	for _, test := range []struct {
		takes, waits time.Duration
	}{
		{20 * time.Millisecond, 20 * time.Millisecond}, // well: the record is there before the end is told of
		{5 * time.Second, recordPatience},
	} {
		synctest.Test(t, func(t *testing.T) {
			st := &slowExits{time: test.takes}
			x := exits{store: st, log: zap.NewNop()}
			began := time.Now()
			x.keep(store.Exit{APIID: "api_a"})
			if waited := time.Since(began); waited != test.waits {
				t.Errorf("a store that takes %v is waited for %v", test.takes, waited)
			}
			if err := x.stop(t.Context()); err != nil || len(st.added) != 1 {
				t.Errorf("recorded %v, %v", st.added, err)
			}
		})
	}
}
