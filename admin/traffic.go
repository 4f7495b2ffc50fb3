package admin

import (
	"errors"
	"net/http"

	"apibuilder/sandbox"
	"apibuilder/store"
)

// setTraffic splits requests among versions.
func (s *Server) setTraffic(w http.ResponseWriter, r *http.Request) (any, error) {
	var body Traffic
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	shares := each(body.Shares, func(s Share) store.Share { return store.Share(s) })
	return s.moveTraffic(r, func(api store.API, check store.Check[store.API]) (store.API, error) {
		return s.deployer.Traffic(r.Context(), api.ID, shares, check)
	})
}

// promoteAPI gives all requests to one version.
func (s *Server) promoteAPI(w http.ResponseWriter, r *http.Request) (any, error) {
	var body Promotion
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	return s.moveTraffic(r, func(api store.API, check store.Check[store.API]) (store.API, error) {
		return s.deployer.Promote(r.Context(), api.ID, body.Version, check)
	})
}

// moveTraffic answers with the API after a move, and says when that ended a split.
func (s *Server) moveTraffic(r *http.Request, move func(store.API, store.Check[store.API]) (store.API, error)) (any, error) {
	before, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	condition, err := conditionOf(r)
	if err != nil {
		return nil, err
	}
	after, err := move(before, checkOf[store.API](condition))
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound("there is no such version", "see `apibuilder versions NAME`")
	}
	if err != nil {
		return nil, err
	}
	out := s.apiOut(after)
	if split := before.Split(); split != nil && after.Split() == nil {
		out.Notice = "the split " + store.SharesText(split) + " has ended"
	}
	return tagged{out, tagOf(after)}, nil
}

func instanceOut(i sandbox.InstanceInfo) Instance {
	return Instance{
		Version: i.Version, State: string(i.State), InFlight: i.InFlight, MemoryBytes: i.MemoryBytes, Started: timeOut(i.Started),
	}
}
