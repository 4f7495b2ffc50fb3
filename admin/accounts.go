package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

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

func (s *Server) listUsers(w http.ResponseWriter, r *http.Request) (any, error) {
	users, err := s.store.Users(r.Context())
	if err != nil {
		return nil, err
	}
	name, plan := r.URL.Query().Get("name"), r.URL.Query().Get("plan")
	users = slices.DeleteFunc(users, func(u store.User) bool {
		return !strings.Contains(u.Name, name) || plan != "" && u.Plan != plan
	})
	return pageOf(w, r, "users", users, func(u store.User) []string { return []string{u.Name, u.ID} }, userOut)
}

func (s *Server) createUser(w http.ResponseWriter, r *http.Request) (any, error) {
	var body User
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	if err := store.ValidName(body.Name); err != nil {
		return nil, badRequest(err.Error(), "choose another name")
	}
	subjectOf(r.Context()).called(body.Name)
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
	switch {
	case body.ID != "" && body.ID != user.ID, body.Name != "" && body.Name != user.Name:
		return nil, badRequest("a user keeps its id and its name", "leave them out, or create another user")
	case body.Plan == "":
		return nil, badRequest("the plan is missing", `give one like {"plan": "default"}`)
	}
	if err := s.checkPlan(r.Context(), body.Plan); err != nil {
		return nil, err
	}
	condition, err := conditionOf(r)
	if err != nil {
		return nil, err
	}
	if err := s.store.SetUserPlan(r.Context(), user.ID, body.Plan, checkOf[store.User](condition)); err != nil {
		return nil, err
	}
	user.Plan = body.Plan
	return tagged{userOut(user), tagOf(user)}, nil
}

func (s *Server) showUser(_ http.ResponseWriter, r *http.Request) (any, error) {
	user, err := s.user(r.Context(), r.PathValue("user"))
	return tagged{userOut(user), tagOf(user)}, err
}
