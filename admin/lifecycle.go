package admin

import (
	"context"
	"errors"
	"net/http"

	"apibuilder/deploy"
	"apibuilder/egress"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// Lifecycle starts and ends the programs of APIs.
type Lifecycle interface {
	// Sleep ends an API's program once its requests are answered, and reports whether it ran.
	Sleep(apiID string) bool
	// Wake starts an API's program if it does not run and returns when it answers.
	Wake(ctx context.Context, apiID string) error
	// Running reports whether an API's program runs.
	Running(apiID string) bool
	// Egress tells what an API's programs reached outside since the server started.
	Egress(apiID string) egress.Report
	// Instances describes what exists of an API.
	Instances(apiID string) []sandbox.InstanceInfo
	// Trouble says why an API's program is not started when somebody calls it; false when it is.
	Trouble(apiID string) (sandbox.Trouble, bool)
}

func (s *Server) sleepAPI(_ http.ResponseWriter, r *http.Request) (any, error) {
	api, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	s.lifecycle.Sleep(api.ID)
	return s.apiOut(api), nil
}

func (s *Server) wakeAPI(_ http.ResponseWriter, r *http.Request) (any, error) {
	api, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	err = s.lifecycle.Wake(r.Context(), api.ID)
	if exit, ok := errors.AsType[*sandbox.Exit](err); ok {
		err = deploy.ExplainExit(exit, store.Limits{})
	}
	if err != nil {
		return nil, err
	}
	return s.apiOut(api), nil
}

// rollbackAPI makes an older version the one that serves: the one that is named, else the newest one before.
func (s *Server) rollbackAPI(w http.ResponseWriter, r *http.Request) (any, error) {
	var body Rollback
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	return s.moveTraffic(r, func(api store.API, check store.Check[store.API]) (store.API, error) {
		return s.deployer.Rollback(r.Context(), api.ID, body.Version, check)
	})
}
