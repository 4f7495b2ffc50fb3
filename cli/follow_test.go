package cli

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"apibuilder/sandbox"
	"apibuilder/store"
)

// awayOnce cannot be reached the first time.
type awayOnce struct {
	store.Store
	asked int
}

func (s *awayOnce) AlwaysRunning(context.Context) ([]string, error) {
	if s.asked++; s.asked == 1 {
		return nil, store.ErrUnavailable
	}
	return []string{"api_a"}, nil
}

// TestWhatAlwaysRunsIsLookedForAgain: it starts without being called although the store was away when the server started.
func TestWhatAlwaysRunsIsLookedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var read []string
		m := sandbox.NewManager(sandbox.ManagerConfig{Plan: func(_ context.Context, api string) (sandbox.Plan, error) {
			mu.Lock()
			defer mu.Unlock()
			read = append(read, api)
			return sandbox.Plan{}, sandbox.ErrUnknownAPI
		}})
		s := &server{log: zap.NewNop(), store: &awayOnce{}, manager: m}
		s.background("test", s.wakeKept)
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(read) != 1 {
			t.Errorf("looked at %q", read)
		}
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
