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
	"of a user":            keyOfUser,
	"rotate":               keyRotate,
	"last use":             keyLastUse,
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
	k.APIID, k.UserID = a.ID, ""
	created := get(s.CreateKey(t.Context(), k))(t)
	k.PreviousPrefix, k.PreviousHash, k.PreviousUntil, k.LastUsedAt = "", [32]byte{}, time.Time{}, time.Time{} // not the caller's
	same(t, "CreateKey", created, k)
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
	_, err = s.CreateKey(t.Context(), store.Key{ID: "key_1", UserID: "user_nobody"})
	refused(t, err, store.ErrNotFound, "user_nobody")
	for _, k := range []store.Key{{}, {APIID: "api_1", UserID: store.OperatorID}, {APIID: "api_1", Quota: -1}} {
		k.ID = "key_1"
		_, err = s.CreateKey(t.Context(), k)
		refused(t, err, store.ErrInvalid, "")
	}
	_, err = s.RotateKey(t.Context(), "key_nobody", "ab_x", store.HashSecret("x"), day)
	refused(t, err, store.ErrNotFound, "key_nobody")
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

// keyOfUser also checks who is told: each API that the key opens, because a change of users in general is not taken to end keys.
func keyOfUser(t *testing.T, s store.Store) {
	user := get(s.CreateUser(t.Context(), store.User{ID: "user_1", Name: "ann", Plan: store.DefaultPlan}))(t)
	first, second, other := newAPI("first"), newAPI("second"), makeAPI(t, s, "other")
	first.UserID, second.UserID = user.ID, user.ID
	get(s.CreateAPI(t.Context(), first))(t)
	get(s.CreateAPI(t.Context(), second))(t)
	of := makeKey(t, s, first.ID)

	var f feed
	defer s.Subscribe(f.add)()
	_, prefix, hash := store.NewSecret(store.KeySecretPrefix)
	k := get(s.CreateKey(t.Context(), store.Key{ID: "key_user", UserID: user.ID, Prefix: prefix, Hash: hash}))(t)
	told := func(what string) {
		t.Helper()
		seen := map[string]bool{}
		for _, c := range f.take() {
			seen[c.APIID] = true
		}
		same(t, "changes of "+what, seen, map[string]bool{first.ID: true, second.ID: true})
	}
	told("CreateKey")
	same(t, "UserKeys", get(s.UserKeys(t.Context(), user.ID))(t), []store.Key{k})
	same(t, "Keys", get(s.Keys(t.Context(), first.ID))(t), []store.Key{of})
	same(t, "Keys of another", len(get(s.Keys(t.Context(), other.ID))(t)), 0)
	same(t, "KeyByHash", get(s.KeyByHash(t.Context(), hash))(t), k)
	get(s.RotateKey(t.Context(), k.ID, "ab_new", store.HashSecret("new"), day))(t)
	told("RotateKey")
	get(s.RevokeKey(t.Context(), k.ID))(t)
	told("RevokeKey")
}

func keyRotate(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	old, other := makeKey(t, s, a.ID), makeKey(t, s, a.ID)
	until := day.Add(1234 * time.Microsecond)
	k := get(s.RotateKey(t.Context(), old.ID, "ab_second", store.HashSecret("second"), until))(t)
	want := old
	want.Prefix, want.Hash = "ab_second", store.HashSecret("second")
	want.PreviousPrefix, want.PreviousHash, want.PreviousUntil = old.Prefix, old.Hash, until
	same(t, "RotateKey", k, want)
	same(t, "by the new secret", get(s.KeyByHash(t.Context(), k.Hash))(t), k)
	same(t, "by the old secret", get(s.KeyByHash(t.Context(), old.Hash))(t), k)
	same(t, "the new secret ends", k.Ends(k.Hash), time.Time{})
	same(t, "the old secret ends", k.Ends(old.Hash), until)

	_, err := s.RotateKey(t.Context(), other.ID, "ab_x", k.Hash, until)
	refused(t, err, store.ErrConflict, other.ID)
	_, err = s.RotateKey(t.Context(), other.ID, "ab_x", old.Hash, until)
	refused(t, err, store.ErrConflict, other.ID)

	k = get(s.RotateKey(t.Context(), k.ID, "ab_third", store.HashSecret("third"), until))(t)
	_, err = s.KeyByHash(t.Context(), old.Hash) // only one secret before is kept
	refused(t, err, store.ErrNotFound, "key")
	same(t, "Keys", len(get(s.Keys(t.Context(), a.ID))(t)), 2)
	get(s.RevokeKey(t.Context(), k.ID))(t)
	_, err = s.RotateKey(t.Context(), k.ID, "ab_x", store.HashSecret("fourth"), until)
	refused(t, err, store.ErrInvalid, "revoked")
}

func keyLastUse(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	k, unused := makeKey(t, s, a.ID), makeKey(t, s, a.ID)
	var f feed
	defer s.Subscribe(f.add)()
	at := func(id string, minutes int) store.Usage {
		u := usageRecord(id, a.ID)
		u.KeyID, u.Time = k.ID, day.Add(time.Duration(minutes)*time.Minute)
		return u
	}
	gone := at("gone", 9)
	gone.KeyID = "key_gone"
	check(t, s.AddUsage(t.Context(), []store.Usage{at("1", 5), at("2", 7), at("3", 6), gone, usageRecord("public", a.ID)}))
	check(t, s.AddUsage(t.Context(), []store.Usage{at("4", 1)}))
	check(t, s.AddUsage(t.Context(), []store.Usage{at("1", 60)})) // known: not counted, not used
	k.LastUsedAt = day.Add(7 * time.Minute)
	same(t, "Keys", get(s.Keys(t.Context(), a.ID))(t), []store.Key{k, unused})
	same(t, "changes", len(f.take()), 0)
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
