package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"apibuilder/store"
)

func (s *Server) listVersions(w http.ResponseWriter, r *http.Request) (any, error) {
	api, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	plan, err := s.planOf(r.Context(), api.UserID)
	if err != nil {
		return nil, err
	}
	p, err := partOf(r, "versions/2", 1) // another cursor than older nodes have, whose numbers count the other way round
	if err != nil {
		return nil, err
	}
	f := store.VersionFilter{APIID: api.ID, State: store.VersionState(r.URL.Query().Get("state")), Limit: p.more()}
	if p.after != nil {
		if f.Below, err = strconv.Atoi(p.after[0]); err != nil || f.Below < 1 {
			return nil, badRequest("the cursor is none of this list", "leave it out to begin")
		}
	}
	versions, err := s.store.FindVersions(r.Context(), f)
	if err != nil {
		return nil, err
	}
	number := func(v store.VersionSummary) []string { return []string{strconv.Itoa(v.Number)} }
	return page(w, r, p, versions, number, func(v store.VersionSummary) Version { return s.versionOut(v, plan) }), nil
}

// versionIn is the version that a path names, 0 for the one that serves, and its API.
func (s *Server) versionIn(r *http.Request) (api store.API, v store.Version, err error) {
	number, err := versionNumber(r.PathValue("version"))
	if err != nil {
		return api, v, err
	}
	if api, err = s.api(r.Context(), r.PathValue("api")); err != nil {
		return api, v, err
	}
	if number == 0 {
		number = api.ActiveVersion
	}
	v, err = s.version(r.Context(), api, number)
	return api, v, err
}

// version finds a version of an API.
func (s *Server) version(ctx context.Context, api store.API, number int) (store.Version, error) {
	v, err := s.store.Version(ctx, api.ID, number)
	if errors.Is(err, store.ErrNotFound) {
		err = notFound(fmt.Sprintf("API %s has no version %d", api.Name, number), "see `apibuilder versions "+api.Name+"`")
	}
	return v, err
}

func (s *Server) showVersion(_ http.ResponseWriter, r *http.Request) (any, error) {
	api, version, err := s.versionIn(r)
	if err != nil {
		return nil, err
	}
	plan, err := s.planOf(r.Context(), api.UserID)
	if err != nil {
		return nil, err
	}
	out := version.Summary()
	out.Env = version.Env
	return s.versionOut(out, plan), nil
}
