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

func (s *Server) showVersion(_ http.ResponseWriter, r *http.Request) (any, error) {
	number, err := versionNumber(r.PathValue("version"))
	if err != nil {
		return nil, err
	}
	api, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	if number == 0 {
		number = api.ActiveVersion
	}
	version, err := s.store.Version(r.Context(), api.ID, number)
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound(fmt.Sprintf("API %s has no such version", api.Name), "see `apibuilder versions "+api.Name+"`")
	}
	if err != nil {
		return nil, err
	}
	plan, err := s.planOf(r.Context(), api.UserID)
	if err != nil {
		return nil, err
	}
	return s.versionOut(version, plan), nil
}
