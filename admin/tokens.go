package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"apibuilder/store"
)

func (s *Server) listTokens(w http.ResponseWriter, r *http.Request) (any, error) {
	user, err := s.userFilter(r)
	if err != nil {
		return nil, err
	}
	tokens, err := s.store.Tokens(r.Context())
	if err != nil {
		return nil, err
	}
	query, now := r.URL.Query(), time.Now()
	name, role, state := query.Get("name"), query.Get("role"), query.Get("state")
	tokens = slices.DeleteFunc(tokens, func(t store.Token) bool {
		ended := !t.RevokedAt.IsZero() || !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt)
		return !strings.Contains(t.Name, name) || role != "" && string(t.Role) != role || user != "" && t.UserID != user ||
			state != "" && ended != (state == "ended")
	})
	return pageOf(w, r, "tokens", tokens, func(t store.Token) []string { return []string{padded(t.CreatedAt.UnixMicro()), t.ID} }, tokenOut)
}

func (s *Server) createToken(w http.ResponseWriter, r *http.Request) (any, error) {
	var body TokenRequest
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	if err := checkLabel(body.Name); err != nil {
		return nil, err
	}
	t, err := s.tokenIn(r.Context(), body)
	if err != nil {
		return nil, err
	}
	secret, prefix, hash := store.NewSecret(store.TokenSecretPrefix)
	t.ID, t.Prefix, t.Hash = store.NewID("tok"), prefix, hash
	token, err := s.store.CreateToken(r.Context(), t)
	if err != nil {
		return nil, err
	}
	subjectOf(r.Context()).called(token.ID)
	out := tokenOut(token)
	out.Secret = secret
	return out, nil
}

// tokenIn reads what a token is to be.
func (s *Server) tokenIn(ctx context.Context, b TokenRequest) (store.Token, error) {
	t := store.Token{Name: cmp.Or(b.Name, "unnamed"), Role: store.Role(b.Role).Or()}
	switch t.Role {
	case store.RoleOperator, store.RoleAuthor, store.RoleReader:
	default:
		return t, badRequest(fmt.Sprintf("there is no role %q", b.Role), "give operator, author or reader")
	}
	var err error
	if t.ExpiresAt, err = expiryIn("token", b.ExpiresAt, time.Now()); err != nil {
		return t, err
	}
	switch {
	case t.Role == store.RoleAuthor && b.User == "":
		return t, badRequest("a token of role author is for the APIs of one user", "give the user")
	case t.Role == store.RoleOperator && b.User != "":
		return t, badRequest("a token of role operator is for all APIs", "leave the user out, or give role author or reader")
	case b.User == "":
		return t, nil
	}
	user, err := s.user(ctx, b.User)
	t.UserID = user.ID
	return t, err
}

func (s *Server) revokeToken(_ http.ResponseWriter, r *http.Request) (any, error) {
	condition, err := conditionOf(r)
	if err != nil {
		return nil, err
	}
	token, err := s.store.RevokeToken(r.Context(), r.PathValue("token"), checkOf[store.Token](condition))
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound(fmt.Sprintf("there is no token %q", r.PathValue("token")), "see `apibuilder tokens list`")
	}
	return tagged{tokenOut(token), tagOf(token)}, err
}

func (s *Server) showToken(_ http.ResponseWriter, r *http.Request) (any, error) {
	tokens, err := s.store.Tokens(r.Context())
	if err != nil {
		return nil, err
	}
	for _, t := range tokens {
		if t.ID == r.PathValue("token") {
			return tagged{tokenOut(t), tagOf(t)}, nil
		}
	}
	return nil, notFound(fmt.Sprintf("there is no token %q", r.PathValue("token")), "see `apibuilder tokens list`")
}
