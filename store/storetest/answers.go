package storetest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"apibuilder/store"
)

var answerTests = map[string]func(*testing.T, store.Store){
	"one": answerOne, "one of many": answerRace, "dropped meanwhile": answerDropRace, "expired": answerExpires,
	"many bytes": answerBytes,
}

func newAnswer(id byte) store.Answer {
	now := store.Stamp(time.Time{})
	return store.Answer{
		ID: [32]byte{id}, Owner: "tok_1", Fingerprint: [32]byte{9}, CreatedAt: now, ExpiresAt: now.Add(time.Hour), WorkedUntil: now.Add(time.Minute),
	}
}

// claim claims an answer, and returns what there is instead.
func claim(t *testing.T, s store.Store, a store.Answer) (store.Answer, bool) {
	t.Helper()
	there, claimed, err := s.ClaimAnswer(t.Context(), a)
	check(t, err)
	if len(there.Text) == 0 {
		there.Text = nil
	}
	return there, claimed
}

func answerOne(t *testing.T, s store.Store) {
	a := newAnswer(1)
	var f feed
	defer s.Subscribe(f.add)()
	there, claimed := claim(t, s, a)
	same(t, "claimed", claimed, true)
	same(t, "claim", there, a)
	other := newAnswer(1)
	other.Fingerprint, other.Owner = [32]byte{8}, "tok_2"
	there, claimed = claim(t, s, other)
	same(t, "claimed again", claimed, false)
	same(t, "there", there, a)

	a.WorkedUntil = a.WorkedUntil.Add(time.Minute)
	check(t, s.KeepAnswer(t.Context(), a.ID, a.WorkedUntil, nil))
	there, _ = claim(t, s, other)
	same(t, "put off", there, a)
	a.Text = []byte{0, 1, 255}
	check(t, s.KeepAnswer(t.Context(), a.ID, a.WorkedUntil, a.Text))
	there, _ = claim(t, s, other)
	same(t, "kept", there, a)
	refused(t, s.KeepAnswer(t.Context(), a.ID, a.WorkedUntil, []byte("x")), store.ErrNotFound, "answer")
	refused(t, s.KeepAnswer(t.Context(), [32]byte{7}, a.WorkedUntil, []byte("x")), store.ErrNotFound, "answer")
	check(t, s.DropAnswer(t.Context(), a.ID)) // which has a text
	there, claimed = claim(t, s, other)
	same(t, "kept for good", there, a)
	same(t, "claimed", claimed, false)

	b := newAnswer(2)
	claim(t, s, b)
	check(t, s.DropAnswer(t.Context(), b.ID))
	check(t, s.DropAnswer(t.Context(), b.ID))
	_, claimed = claim(t, s, b)
	same(t, "claimed after it was dropped", claimed, true)
	same(t, "changes", len(f.take()), 0)
	_, _, err := s.ClaimAnswer(t.Context(), store.Answer{})
	refused(t, err, store.ErrInvalid, "id")
}

func answerRace(t *testing.T, s store.Store) {
	var won atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			_, claimed, err := s.ClaimAnswer(t.Context(), newAnswer(1))
			if err != nil {
				t.Error(err)
			}
			if claimed {
				won.Add(1)
			}
		})
	}
	group.Wait()
	same(t, "claims", won.Load(), int32(1))
}

// answerDropRace has claims meet answers that are dropped at the same moment: each is claimed or there.
func answerDropRace(t *testing.T, s store.Store) {
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				a := newAnswer(1)
				_, claimed, err := s.ClaimAnswer(t.Context(), a)
				if err == nil && claimed {
					err = s.DropAnswer(t.Context(), a.ID)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

func answerExpires(t *testing.T, s store.Store) {
	a := newAnswer(1)
	claim(t, s, a)
	check(t, s.KeepAnswer(t.Context(), a.ID, a.WorkedUntil, []byte("x")))
	late := newAnswer(1)
	late.CreatedAt, late.ExpiresAt = a.ExpiresAt, a.ExpiresAt.Add(time.Hour)
	there, claimed := claim(t, s, late)
	same(t, "claimed", claimed, true)
	same(t, "there", there, late)
}

// answerBytes has an owner keep more than he may, and another one beside him.
func answerBytes(t *testing.T, s store.Store) {
	text := make([]byte, store.KeptAnswerBytes/3)
	keep := func(id byte, owner string, text []byte) store.Answer {
		a := newAnswer(id)
		a.Owner, a.CreatedAt = owner, a.CreatedAt.Add(time.Duration(id)*time.Second)
		claim(t, s, a)
		if text != nil {
			check(t, s.KeepAnswer(t.Context(), a.ID, a.WorkedUntil, text))
		}
		return a
	}
	all := []store.Answer{
		keep(1, "tok_1", nil), keep(2, "tok_2", text), keep(3, "tok_1", text), keep(4, "tok_1", text), keep(5, "tok_1", text), keep(6, "tok_1", text),
	}
	for i, kept := range []bool{true, true, false, true, true, true} {
		_, claimed := claim(t, s, all[i])
		same(t, "kept", !claimed, kept)
	}
}
