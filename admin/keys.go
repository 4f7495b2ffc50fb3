package admin

import (
	"context"
	"fmt"
	"net/http"
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

func (s *Server) listKeys(_ http.ResponseWriter, r *http.Request) (any, error) {
	api, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	keys, err := s.store.Keys(r.Context(), api.ID)
	return each(keys, keyOut), err
}

func (s *Server) createKey(w http.ResponseWriter, r *http.Request) (any, error) {
	var body KeyRequest
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	if err := checkLabel(body.Name); err != nil {
		return nil, err
	}
	rate, err := rateIn(body.Rate)
	if err != nil {
		return nil, err
	}
	api, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	secret, prefix, hash := store.NewSecret(store.KeySecretPrefix)
	key, err := s.store.CreateKey(r.Context(), store.Key{
		ID: store.NewID("key"), APIID: api.ID, Name: body.Name, Prefix: prefix, Hash: hash, Rate: rate,
	})
	if err != nil {
		return nil, err
	}
	out := keyOut(key)
	out.Secret = secret
	return out, nil
}

func (s *Server) revokeKey(_ http.ResponseWriter, r *http.Request) (any, error) {
	api, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	key, err := s.key(r.Context(), api, r.PathValue("key"))
	if err != nil {
		return nil, err
	}
	key, err = s.store.RevokeKey(r.Context(), key.ID)
	return keyOut(key), err
}

// key finds a key of that API by its id, or by its shown prefix or name where only one valid key has it.
func (s *Server) key(ctx context.Context, api store.API, word string) (store.Key, error) {
	keys, err := s.store.Keys(ctx, api.ID)
	if err != nil {
		return store.Key{}, err
	}
	var found []store.Key
	for _, k := range keys {
		if k.ID == word {
			return k, nil
		}
		if k.RevokedAt.IsZero() && (k.Prefix == word || k.Name == word) {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 0:
		return store.Key{}, notFound(fmt.Sprintf("API %s has no key %q", api.Name, word),
			"see `apibuilder keys list --api "+api.Name+"`")
	case 1:
		return found[0], nil
	}
	return store.Key{}, badRequest(fmt.Sprintf("%d keys of API %s are called %q", len(found), api.Name, word),
		"give the key's id")
}
