package admin

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

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
	versions, err := s.store.Versions(r.Context(), api.ID)
	if err != nil {
		return nil, err
	}
	state := store.VersionState(r.URL.Query().Get("state"))
	versions = slices.DeleteFunc(versions, func(v store.Version) bool { return state != "" && v.State != state })
	newestFirst := func(v store.Version) []string { return []string{padded(1<<40 - int64(v.Number))} }
	return pageOf(w, r, "versions", versions, newestFirst, func(v store.Version) Version { return s.versionOut(v, plan) })
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
	v, err = s.store.Version(r.Context(), api.ID, number)
	if errors.Is(err, store.ErrNotFound) {
		err = notFound(fmt.Sprintf("API %s has no version %d", api.Name, number), "see `apibuilder versions "+api.Name+"`")
	}
	return api, v, err
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
	return s.versionOut(version, plan), nil
}
