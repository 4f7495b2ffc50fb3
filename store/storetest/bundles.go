package storetest

import (
	"bytes"
	"testing"

	"apibuilder/store"
)

// binary has every byte, and more than a page of them.
var binary = bytes.Repeat([]byte("\x00\xff\x80\n'\\PK"), 3000)

var bundleTests = map[string]func(*testing.T, store.Store){
	"round trip":       bundleRoundTrip,
	"not found":        bundleNotFound,
	"gone with an API": bundleGone,
	"refused":          bundleRefused,
}

func bundleRoundTrip(t *testing.T, s store.Store) {
	a, b := makeAPI(t, s, "a"), makeAPI(t, s, "b")
	large := bytes.Repeat([]byte{7}, 20<<20)
	check(t, s.PutBundle(t.Context(), a.ID, "one", binary))
	check(t, s.PutBundle(t.Context(), a.ID, "two", large))
	check(t, s.PutBundle(t.Context(), a.ID, "one", []byte("another")))
	same(t, "Bundle", get(s.Bundle(t.Context(), a.ID, "one"))(t), binary)
	same(t, "Bundle", bytes.Equal(get(s.Bundle(t.Context(), a.ID, "two"))(t), large), true)
	_, err := s.Bundle(t.Context(), b.ID, "one")
	refused(t, err, store.ErrNotFound, b.ID)
}

func bundleNotFound(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "a")
	_, err := s.Bundle(t.Context(), a.ID, "one")
	refused(t, err, store.ErrNotFound, a.ID)
	refused(t, s.PutBundle(t.Context(), "api_nobody", "one", binary), store.ErrNotFound, "api_nobody")
}

func bundleGone(t *testing.T, s store.Store) {
	a, b := makeAPI(t, s, "a"), makeAPI(t, s, "b")
	check(t, s.PutBundle(t.Context(), a.ID, "one", binary))
	check(t, s.PutBundle(t.Context(), b.ID, "one", binary))
	check(t, s.DeleteAPI(t.Context(), a.ID))
	_, err := s.Bundle(t.Context(), a.ID, "one")
	refused(t, err, store.ErrNotFound, a.ID)
	same(t, "Bundle of another", get(s.Bundle(t.Context(), b.ID, "one"))(t), binary)
}

func bundleRefused(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "a")
	refused(t, s.PutBundle(t.Context(), a.ID, "", binary), store.ErrInvalid, "hash")
	refused(t, s.PutBundle(t.Context(), a.ID, "one", nil), store.ErrInvalid, "archive")
}
