package admin

import (
	"fmt"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"apibuilder/store"
)

const maxLabel = 100 // characters in the name of a key or token

func checkLabel(label string) error {
	if utf8.RuneCountInString(label) > maxLabel {
		return badRequest("the name is too long", fmt.Sprintf("use at most %d characters", maxLabel))
	}
	for _, r := range label {
		if r < ' ' || r == 0x7f {
			return badRequest("the name has a control character", "use plain text")
		}
	}
	return nil
}

// maxAllow is how many scopes a key may have: each request with the key is compared with them.
const maxAllow = 64

// keyOwner is whose keys a request's path names: an API's, a user's, or everybody's.
func (s *Server) keyOwner(r *http.Request) (of store.Key, where string, err error) {
	switch {
	case r.PathValue("api") != "":
		api, err := s.api(r.Context(), r.PathValue("api"))
		return store.Key{APIID: api.ID}, "API " + api.Name + " has", err
	case r.PathValue("user") != "":
		user, err := s.user(r.Context(), r.PathValue("user"))
		return store.Key{UserID: user.ID}, "user " + user.Name + " has", err
	}
	return of, "there is", nil
}

func (s *Server) listKeys(w http.ResponseWriter, r *http.Request) (any, error) {
	of, _, err := s.keyOwner(r)
	if err != nil {
		return nil, err
	}
	p, err := partOf(r, "keys", 2)
	if err != nil {
		return nil, err
	}
	f := store.KeyFilter{
		APIID: of.APIID, UserID: of.UserID, Name: r.URL.Query().Get("name"), State: store.KeyState(r.URL.Query().Get("state")), Limit: p.more(),
	}
	if f.After, err = p.position(); err != nil {
		return nil, err
	}
	keys, err := s.store.FindKeys(r.Context(), f)
	if err != nil {
		return nil, err
	}
	return page(w, r, p, keys, func(k store.Key) []string { return positionKey(k.CreatedAt, k.ID) }, keyOut), nil
}

func (s *Server) createKey(w http.ResponseWriter, r *http.Request) (any, error) {
	var body KeyRequest
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	key, err := keyIn(body, time.Now())
	if err != nil {
		return nil, err
	}
	of, _, err := s.keyOwner(r)
	if err != nil {
		return nil, err
	}
	var secret string
	key.ID, key.APIID, key.UserID = store.NewID("key"), of.APIID, of.UserID
	secret, key.Prefix, key.Hash = store.NewSecret(store.KeySecretPrefix)
	if key, err = s.store.CreateKey(r.Context(), key); err != nil {
		return nil, err
	}
	subjectOf(r.Context()).called(key.ID)
	out := keyOut(key)
	out.Secret = secret
	return out, nil
}

func keyIn(body KeyRequest, now time.Time) (store.Key, error) {
	if err := checkLabel(body.Name); err != nil {
		return store.Key{}, err
	}
	rate, err := rateIn(body.Rate)
	if err != nil {
		return store.Key{}, err
	}
	if err := checkQuota(body.Quota); err != nil {
		return store.Key{}, err
	}
	if len(body.Allow) > maxAllow {
		return store.Key{}, badRequest(fmt.Sprintf("the key allows %d things one by one", len(body.Allow)),
			fmt.Sprintf("use at most %d, with * in their paths", maxAllow))
	}
	for _, text := range body.Allow {
		if _, err := store.ParseScope(text); err != nil {
			return store.Key{}, badRequest("what the key allows: "+err.Error(), "see `apibuilder keys create --help`")
		}
	}
	key := store.Key{Name: body.Name, Rate: rate, Quota: body.Quota, Allow: body.Allow}
	key.ExpiresAt, err = expiryIn("key", body.ExpiresAt, now)
	return key, err
}

func checkQuota(n int64) error {
	const most = 1_000_000_000_000_000
	if n < 0 || n > most {
		return badRequest(fmt.Sprintf("a quota of %d requests", n), fmt.Sprintf("use a number up to %d, or 0 for no limit", int64(most)))
	}
	return nil
}

func (s *Server) rotateKey(w http.ResponseWriter, r *http.Request) (any, error) {
	var body KeyRotation
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	if !(body.OverlapSeconds >= 0 && body.OverlapSeconds <= 366*86400) {
		return nil, badRequest("the overlap is no time from 0 to a year", `give one like {"overlap_seconds": 86400}`)
	}
	key, err := s.key(r)
	if err != nil {
		return nil, err
	}
	condition, err := conditionOf(r)
	if err != nil {
		return nil, err
	}
	secret, prefix, hash := store.NewSecret(store.KeySecretPrefix)
	until := time.Now().Add(time.Duration(body.OverlapSeconds * float64(time.Second)))
	if key, err = s.store.RotateKey(r.Context(), key.ID, prefix, hash, until, checkOf[store.Key](condition)); err != nil {
		return nil, err
	}
	out := keyOut(key)
	out.Secret = secret
	return tagged{out, tagOf(key)}, nil
}

func (s *Server) revokeKey(_ http.ResponseWriter, r *http.Request) (any, error) {
	key, err := s.key(r)
	if err != nil {
		return nil, err
	}
	condition, err := conditionOf(r)
	if err != nil {
		return nil, err
	}
	key, err = s.store.RevokeKey(r.Context(), key.ID, checkOf[store.Key](condition))
	return tagged{keyOut(key), tagOf(key)}, err
}

func (s *Server) showKey(_ http.ResponseWriter, r *http.Request) (any, error) {
	key, err := s.key(r)
	return tagged{keyOut(key), tagOf(key)}, err
}

// key finds the key that a request's path names by its id, or by its shown prefix or name where only one valid key has it.
func (s *Server) key(r *http.Request) (store.Key, error) {
	of, where, err := s.keyOwner(r)
	if err != nil {
		return store.Key{}, err
	}
	word := r.PathValue("key")
	found, err := s.store.FindKeys(r.Context(), store.KeyFilter{APIID: of.APIID, UserID: of.UserID, ID: word})
	if err == nil && len(found) == 0 {
		found, err = s.store.FindKeys(r.Context(), store.KeyFilter{APIID: of.APIID, UserID: of.UserID, Called: word})
		found = slices.DeleteFunc(found, func(k store.Key) bool { return !k.RevokedAt.IsZero() })
	}
	switch {
	case err != nil:
		return store.Key{}, err
	case len(found) == 0:
		return store.Key{}, notFound(fmt.Sprintf("%s no key %q", where, word), "see `apibuilder keys list`")
	case len(found) > 1:
		return store.Key{}, badRequest(fmt.Sprintf("%d keys are called %q", len(found), word), "give the key's id")
	}
	subjectOf(r.Context()).about(found[0].APIID)
	return found[0], nil
}
