package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/store"
)

// changeKey changes the key with a secret, and tells of the APIs that it opens.
func (s *fakeStore) changeKey(secret string, apis []string, fn func(*store.Key)) {
	for _, api := range apis {
		s.change(func() store.Change {
			k := s.keys[store.HashSecret(secret)]
			fn(&k)
			s.keys[store.HashSecret(secret)] = k
			return store.Change{APIID: api}
		})
	}
}

var private = []string{"api_private"}

// TestAKeyEndsByTheClock has a key end that is remembered, without any change of the store.
func TestAKeyEndsByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newFakeStore()
		g := New(Config{}, st, nil, nil, nil)
		defer g.directory.close()
		st.changeKey(testKey, private, func(k *store.Key) { k.ExpiresAt = time.Now().Add(time.Hour) })
		r, _ := http.NewRequest("GET", "http://x/run/private/", nil)
		r.Header.Set("X-API-Key", testKey)
		e, err := g.directory.api(context.Background(), "private")
		if err != nil {
			t.Fatal(err)
		}
		admit := func() string {
			_, word, err := g.admit(r, "/", e, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return word
		}
		if word := admit(); word != "" {
			t.Fatalf("a valid key: %s", word)
		}
		reads := st.count()
		time.Sleep(time.Hour - time.Nanosecond)
		if word := admit(); word != "" {
			t.Errorf("right before its end: %s", word)
		}
		time.Sleep(time.Nanosecond)
		if word := admit(); word != wordExpiredKey {
			t.Errorf("at its end: %q", word)
		}
		if st.count() != reads {
			t.Error("the store was read for it")
		}
	})
}

func TestARotatedKey(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	d.store.changeKey(testKey, private, func(k *store.Key) {
		k.PreviousHash, k.PreviousUntil = k.Hash, time.Now().Add(time.Hour)
		k.Hash = store.HashSecret(unknownK)
		d.store.keys[k.Hash] = *k
	})
	get := func(secret string) got {
		r := d.request("GET", "/run/private/", nil)
		r.Header.Set("X-API-Key", secret)
		return d.do(r)
	}
	for _, secret := range []string{testKey, unknownK} {
		if got := get(secret); got.StatusCode != 200 {
			t.Errorf("in the overlap: status %d", got.StatusCode)
		}
		if u := d.record(); u.KeyID != "key_1" {
			t.Errorf("record %+v", u)
		}
	}
	over := func(k *store.Key) { k.PreviousUntil = time.Now() }
	d.store.changeKey(testKey, private, over)
	d.store.changeKey(unknownK, private, over)
	get(testKey).wantProblem(t, 401, wordExpiredKey)
	if got := get(unknownK); got.StatusCode != 200 {
		t.Errorf("the new secret after the overlap: status %d", got.StatusCode)
	}
}

func TestAKeyOfAUserOpensItsAPIs(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	d.store.mu.Lock()
	d.store.users["user_ann"] = store.User{ID: "user_ann", Plan: "default"}
	d.store.mu.Unlock()
	d.store.changeKey(testKey, private, func(k *store.Key) { k.APIID, k.UserID = "", "user_ann" })
	d.get("/run/private/").wantProblem(t, 403, wordWrongAPI)
	for _, api := range []string{"api_private", "api_docs"} {
		d.store.updateAPI(api, func(a *store.API) { a.UserID = "user_ann" })
	}
	for _, api := range []string{"private", "docs"} {
		if got := d.get("/run/" + api + "/"); got.StatusCode != 200 {
			t.Errorf("%s of the same user: status %d", api, got.StatusCode)
		}
	}
	d.store.updateAPI("api_docs", func(a *store.API) { a.UserID = "operator" })
	d.get("/run/docs/").wantProblem(t, 403, wordWrongAPI)
	// Its end is told as a change of the API, and so is not taken back when the store is away.
	d.store.change(func() store.Change { return store.Change{} })
	d.store.changeKey(testKey, private, func(k *store.Key) { k.RevokedAt = time.Now() })
	d.get("/run/private/").wantProblem(t, 401, wordInvalidKey)
	d.store.away(errors.New("connection refused"))
	d.get("/run/private/").wantProblem(t, 401, wordInvalidKey)
}

func TestAKeyWithScopes(t *testing.T) {
	d := newDoor(t, Config{}, func(http.ResponseWriter, *http.Request) {})
	d.store.changeKey(testKey, private, func(k *store.Key) { k.Allow = []string{"GET /items/*", "POST /search"} })
	for target, want := range map[string]int{
		"GET /items/1": 200, "GET /items/1?x=/../": 200, "POST /search": 200, "GET /search": 403, "DELETE /items/1": 403, "GET /items/": 403,
		"GET /": 403, "GET /items/..%2fadmin": 403, "GET /items/%2e%2e": 403, "GET /items/../admin": 403, "GET //items/1": 403,
		"GET /%69tems/1": 403, "GET /admin?/items/1": 403, "GET /items/1;%2f..%2fadmin": 403, "GET /items\\1": 403,
	} {
		method, path, _ := strings.Cut(target, " ")
		c := d.dial()
		c.send("%s /run/private%s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, path, testKey)
		if got := c.answer(method); got.StatusCode != want {
			t.Errorf("%s: status %d, want %d", target, got.StatusCode, want)
		}
	}
	d.store.updateAPI("api_private", func(a *store.API) { a.Public = true })
	if got := d.get("/run/private/admin"); got.StatusCode != 200 {
		t.Errorf("of a public API, which needs no key: status %d", got.StatusCode)
	}
	if n := d.journal.len(); n > 0 && d.journal.records[n-1].KeyID != "" {
		t.Error("it was counted to the key")
	}
	d.store.updateAPI("api_private", func(a *store.API) { a.Public = false })
	d.store.changeKey(testKey, private, func(k *store.Key) { k.Allow = []string{"nonsense"} })
	d.get("/run/private/items/1").wantProblem(t, 503, wordStoreUnavailable)
}
