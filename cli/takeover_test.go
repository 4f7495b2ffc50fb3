package cli

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"apibuilder/admin"
	"apibuilder/handover"
	"apibuilder/metrics"
	"apibuilder/store"
	"apibuilder/store/sqlite"
	"apibuilder/usage"
)

// serving is a server that hands on. frozen is called by Freeze.
type serving struct{ frozen func() }

func (serving) Offer(context.Context) (handover.Offer, error) { return handover.Offer{}, nil }

func (s serving) Freeze(context.Context) error {
	if s.frozen != nil {
		s.frozen()
	}
	return nil
}
func (serving) Thaw()  {}
func (serving) Leave() {}

// successor returns a server that is about to take over from h, with a store of its own on the same file as the one that it returns.
func successor(t *testing.T, h handover.Holder) (*server, store.Store) {
	t.Helper()
	data := &dataDir{path: t.TempDir()}
	var stores [2]*sqlite.Store
	for i := range stores {
		var err error
		if stores[i], err = sqlite.Open(t.Context(), data.join("apibuilder.db")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = stores[i].Close() })
	}
	s := &server{data: data, log: zap.NewNop(), succeeded: make(chan struct{}), database: stores[1]}
	s.options.nodeName = "here"
	if err := s.sealStore(t.Context(), stores[1]); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.listener.Close() })
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"}
	door, err := net.ListenUnix("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	giver := handover.Give(door, h)
	t.Cleanup(func() { _ = giver.Close() })
	conn, err := net.DialUnix("unix", nil, address)
	if err != nil {
		t.Fatal(err)
	}
	if s.predecessor.claim, _, err = handover.Ask(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.predecessor.claim.Close() })
	return s, stores[0]
}

// TestAFailedTakeOverLeavesTheNode: the server that goes on is the same node, which others would take for gone.
func TestAFailedTakeOverLeavesTheNode(t *testing.T) {
	s, st := successor(t, serving{})
	if err := s.openNode(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if nodes, err := st.Nodes(t.Context()); err != nil || len(nodes) != 1 {
		t.Errorf("nodes after the successor failed: %v, %v", nodes, err)
	}
	s, st = successor(t, serving{})
	if err := s.openNode(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.predecessor.left = true
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if nodes, err := st.Nodes(t.Context()); err != nil || len(nodes) != 0 {
		t.Errorf("nodes after the successor stopped in order: %v, %v", nodes, err)
	}
}

// TestATakeOverSeesWhatChangedMeanwhile: the successor starts what always runs while the server before it still takes changes.
func TestATakeOverSeesWhatChangedMeanwhile(t *testing.T) {
	stores := make(chan store.Store, 1) // that of the server before
	id := store.NewID("api")
	s, before := successor(t, serving{frozen: func() {
		if _, err := (<-stores).CreateAPI(context.Background(), store.API{ID: id, Name: "late", UserID: store.OperatorID}); err != nil {
			t.Error(err)
		}
	}})
	stores <- before
	told := false
	defer s.store.Subscribe(func(c store.Change) { told = told || c.APIID == "" || c.APIID == id })()
	if err := s.freezePredecessor(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !told {
		t.Error("who keeps something of the store was not told that it may be old")
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
}

// TestASuccessorGoesOnWithoutItsSockets: once the server before it ends, nobody else serves.
func TestASuccessorGoesOnWithoutItsSockets(t *testing.T) {
	s, _ := successor(t, serving{})
	gone := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(gone, 0o700); err != nil {
		t.Fatal(err)
	}
	s.data.path = gone
	if err := s.openLocal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(gone); err != nil {
		t.Fatal(err)
	}
	if err := s.freezePredecessor(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, step := range []func(context.Context) error{s.leavePredecessor, s.openSuccessor} {
		if err := step(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
}

// TestAManagementSocketThatWasRemovedIsMadeAnew: the one that is handed on is one that nobody reaches.
func TestAManagementSocketThatWasRemovedIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	old, err := admin.ListenUnix(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	file, err := old.File()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, admin.SocketName)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s := &server{data: &dataDir{path: dir}, log: zap.NewNop()}
	s.predecessor.offer.Sockets = []handover.Socket{{Name: admin.SocketName, File: file}}
	if err := s.openLocal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
}

// TestASuccessorHearsWhatItWaitsFor: there are two places, and both are taken until the server before has drained.
func TestASuccessorHearsWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{log: zap.NewNop(), alone: make(chan struct{})}
		if _, err := (holder{server: s}).Offer(t.Context()); err == nil || !strings.Contains(err.Error(), "has not ended yet") {
			t.Errorf("error %v", err)
		}
	})
}

// TestAServerThatCannotTakeChangesAgainGoesOn: consumers are served although what a take-over closed cannot be opened yet.
func TestAServerThatCannotTakeChangesAgainGoesOn(t *testing.T) {
	dir := t.TempDir()
	local, err := admin.ListenUnix(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := local.Close(); err != nil { // it cannot be duplicated
		t.Fatal(err)
	}
	s := &server{data: &dataDir{path: dir}, log: zap.NewNop(), failed: make(chan error, 1), local: local, host: &host{}, metrics: metrics.New("", ""), listener: local}
	life, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		holder{server: s, life: life}.Thaw()
	}()
	time.Sleep(50 * time.Millisecond)
	end()
	<-done
	select {
	case err := <-s.failed:
		t.Errorf("the server ends: %v", err)
	default:
	}
}

// TestUsageThatAnotherServerLeft is delivered when its journal is not in use any more, and nothing is taken for delivered that is not.
func TestUsageThatAnotherServerLeft(t *testing.T) {
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "apibuilder.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	dir := t.TempDir()
	away := &sink{err: errors.New("away")}
	ending, err := usage.Open(dir, away, usage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := ending.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := ending.Record(store.Usage{ID: "req_1", Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	core, told := observer.New(zap.ErrorLevel)
	s := &server{store: st, log: zap.New(core)}
	if err := s.deliverAllLeft(t.Context(), dir, 0); err == nil || !strings.Contains(err.Error(), dir) || told.Len() != leftTries {
		t.Errorf("of a journal in use, told %d times: %v", told.Len(), err)
	}
	go func() {
		for told.Len() <= leftTries {
			time.Sleep(time.Millisecond)
		}
		_ = ending.Stop(t.Context()) // what is left stays
	}()
	if err := s.deliverAllLeft(t.Context(), dir, time.Second); err != nil {
		t.Error(err)
	}
	if all, err := st.Usage(t.Context(), store.UsageFilter{}); err != nil || len(all) != 1 {
		t.Errorf("%d records are delivered, %v", len(all), err)
	}
}

// sink is a store that takes nothing.
type sink struct{ err error }

func (s *sink) AddUsage(context.Context, []store.Usage) error { return s.err }
