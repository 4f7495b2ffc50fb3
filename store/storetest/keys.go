package storetest

import (
	"fmt"
	"testing"
	"time"

	"apibuilder/store"
)

var keyTests = map[string]func(*testing.T, store.Store){
	"round trip":           keyRoundTrip,
	"conflicts":            keyConflicts,
	"not found":            keyNotFound,
	"list is oldest first": keyList,
	"revoke":               keyRevoke,
}

var tokenTests = map[string]func(*testing.T, store.Store){
	"round trip": tokenRoundTrip,
	"conflicts":  tokenConflicts,
	"revoke":     tokenRevoke,
}

func keyRoundTrip(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	var k store.Key
	fill(&k)
	k.APIID = a.ID
	same(t, "CreateKey", get(s.CreateKey(t.Context(), k))(t), k)
	same(t, "KeyByHash", get(s.KeyByHash(t.Context(), k.Hash))(t), k)
	same(t, "Keys", get(s.Keys(t.Context(), a.ID))(t), []store.Key{k})
	fresh := makeKey(t, s, a.ID)
	recent(t, "CreatedAt", fresh.CreatedAt)
	same(t, "RevokedAt", fresh.RevokedAt.IsZero(), true)
	same(t, "KeyByHash", get(s.KeyByHash(t.Context(), fresh.Hash))(t), fresh)
}

func keyConflicts(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	k := makeKey(t, s, a.ID)
	b := k
	b.ID = "key_other"
	_, err := s.CreateKey(t.Context(), b)
	refused(t, err, store.ErrConflict, "key_other")
	b = k
	b.Hash = store.HashSecret("another")
	_, err = s.CreateKey(t.Context(), b)
	refused(t, err, store.ErrConflict, k.ID)
	same(t, "Keys", get(s.Keys(t.Context(), a.ID))(t), []store.Key{k})
}

func keyNotFound(t *testing.T, s store.Store) {
	_, err := s.KeyByHash(t.Context(), store.HashSecret("nothing"))
	refused(t, err, store.ErrNotFound, "key")
	_, err = s.CreateKey(t.Context(), store.Key{ID: "key_1", APIID: "api_nobody"})
	refused(t, err, store.ErrNotFound, "api_nobody")
	_, err = s.RevokeKey(t.Context(), "key_nobody")
	refused(t, err, store.ErrNotFound, "key_nobody")
	_, err = s.CreateKey(t.Context(), store.Key{APIID: makeAPI(t, s, "resize").ID})
	refused(t, err, store.ErrInvalid, "key id")
}

func keyList(t *testing.T, s store.Store) {
	a, b := makeAPI(t, s, "a"), makeAPI(t, s, "b")
	makeKey(t, s, b.ID)
	for i, minute := range []int{3, 1, 2, 1} {
		k := store.Key{ID: fmt.Sprintf("key_%d", 9-i), APIID: a.ID, Hash: store.HashSecret(fmt.Sprint(i))}
		k.CreatedAt = day.Add(time.Duration(minute) * time.Minute)
		get(s.CreateKey(t.Context(), k))(t)
	}
	get(s.RevokeKey(t.Context(), "key_7"))(t)
	var ids []string
	for _, k := range get(s.Keys(t.Context(), a.ID))(t) {
		ids = append(ids, k.ID)
	}
	// Of equal times the one that was stored first.
	same(t, "ids", ids, []string{"key_8", "key_6", "key_7", "key_9"})
}

func keyRevoke(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	want, other := makeKey(t, s, a.ID), makeKey(t, s, a.ID)
	got := get(s.RevokeKey(t.Context(), want.ID))(t)
	recent(t, "RevokedAt", got.RevokedAt)
	want.RevokedAt = got.RevokedAt
	same(t, "RevokeKey", got, want)
	same(t, "KeyByHash", get(s.KeyByHash(t.Context(), want.Hash))(t), want)
	same(t, "RevokeKey again", get(s.RevokeKey(t.Context(), want.ID))(t), want)
	same(t, "other key", get(s.KeyByHash(t.Context(), other.Hash))(t), other)
}

func tokenRoundTrip(t *testing.T, s store.Store) {
	same(t, "tokens at birth", len(get(s.Tokens(t.Context()))(t)), 0)
	var tok store.Token
	fill(&tok)
	tok.Role = store.RoleReader
	same(t, "CreateToken", get(s.CreateToken(t.Context(), tok))(t), tok)
	same(t, "TokenByHash", get(s.TokenByHash(t.Context(), tok.Hash))(t), tok)
	same(t, "Tokens", get(s.Tokens(t.Context()))(t), []store.Token{tok})
	fresh := makeToken(t, s)
	recent(t, "CreatedAt", fresh.CreatedAt)
	same(t, "Tokens", get(s.Tokens(t.Context()))(t), []store.Token{tok, fresh})
}

func tokenConflicts(t *testing.T, s store.Store) {
	tok := makeToken(t, s)
	other := tok
	other.ID = "tok_other"
	_, err := s.CreateToken(t.Context(), other)
	refused(t, err, store.ErrConflict, "tok_other")
	other = tok
	other.Hash = store.HashSecret("another")
	_, err = s.CreateToken(t.Context(), other)
	refused(t, err, store.ErrConflict, tok.ID)
	_, err = s.TokenByHash(t.Context(), other.Hash)
	refused(t, err, store.ErrNotFound, "token")
}

func tokenRevoke(t *testing.T, s store.Store) {
	want := makeToken(t, s)
	got := get(s.RevokeToken(t.Context(), want.ID))(t)
	recent(t, "RevokedAt", got.RevokedAt)
	want.RevokedAt = got.RevokedAt
	same(t, "RevokeToken", got, want)
	same(t, "RevokeToken again", get(s.RevokeToken(t.Context(), want.ID))(t), want)
	same(t, "TokenByHash", get(s.TokenByHash(t.Context(), want.Hash))(t), want)
	_, err := s.RevokeToken(t.Context(), "tok_nobody")
	refused(t, err, store.ErrNotFound, "tok_nobody")
}
