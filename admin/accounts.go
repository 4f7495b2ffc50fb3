package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"apibuilder/store"
)

func (s *Server) user(ctx context.Context, idOrName string) (store.User, error) {
	user, err := s.store.User(ctx, idOrName)
	if errors.Is(err, store.ErrNotFound) {
		return user, notFound(fmt.Sprintf("there is no user %q", idOrName), "see `apibuilder users list`")
	}
	return user, err
}

func (s *Server) checkPlan(ctx context.Context, name string) error {
	_, err := s.store.Plan(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return notFound(fmt.Sprintf("there is no plan %q", name), "see `apibuilder plans list`")
	}
	return err
}

func (s *Server) listUsers(_ http.ResponseWriter, r *http.Request) (any, error) {
	users, err := s.store.Users(r.Context())
	return each(users, userOut), err
}

func (s *Server) createUser(w http.ResponseWriter, r *http.Request) (any, error) {
	var body User
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	if err := store.ValidName(body.Name); err != nil {
		return nil, badRequest(err.Error(), "choose another name")
	}
	if body.Plan == "" {
		body.Plan = store.DefaultPlan
	}
	if err := s.checkPlan(r.Context(), body.Plan); err != nil {
		return nil, err
	}
	user, err := s.store.CreateUser(r.Context(), store.User{ID: store.NewID("user"), Name: body.Name, Plan: body.Plan})
	return userOut(user), err
}

func (s *Server) patchUser(w http.ResponseWriter, r *http.Request) (any, error) {
	var body User
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	user, err := s.user(r.Context(), r.PathValue("user"))
	if err != nil {
		return nil, err
	}
	if err := s.checkPlan(r.Context(), body.Plan); err != nil {
		return nil, err
	}
	if err := s.store.SetUserPlan(r.Context(), user.ID, body.Plan); err != nil {
		return nil, err
	}
	user.Plan = body.Plan
	return userOut(user), nil
}

func (s *Server) listTokens(_ http.ResponseWriter, r *http.Request) (any, error) {
	tokens, err := s.store.Tokens(r.Context())
	return each(tokens, tokenOut), err
}

func (s *Server) createToken(w http.ResponseWriter, r *http.Request) (any, error) {
	var body TokenRequest
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	if err := checkLabel(body.Name); err != nil {
		return nil, err
	}
	if body.Name == "" {
		body.Name = "unnamed"
	}
	secret, prefix, hash := store.NewSecret(store.TokenSecretPrefix)
	token, err := s.store.CreateToken(r.Context(), store.Token{
		ID: store.NewID("tok"), Name: body.Name, Prefix: prefix, Hash: hash,
	})
	if err != nil {
		return nil, err
	}
	out := tokenOut(token)
	out.Secret = secret
	return out, nil
}

func (s *Server) revokeToken(_ http.ResponseWriter, r *http.Request) (any, error) {
	token, err := s.store.RevokeToken(r.Context(), r.PathValue("token"))
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound(fmt.Sprintf("there is no token %q", r.PathValue("token")), "see `apibuilder tokens list`")
	}
	return tokenOut(token), err
}
