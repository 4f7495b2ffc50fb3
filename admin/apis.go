package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"apibuilder/deploy"
	"apibuilder/store"
)

const shownExits = 10

// api finds the API that a request's path names.
func (s *Server) api(ctx context.Context, idOrName string) (store.API, error) {
	api, err := s.store.API(ctx, idOrName)
	if errors.Is(err, store.ErrNotFound) || err == nil && !callerOf(ctx).sees(api) {
		return store.API{}, notFound(fmt.Sprintf("there is no API %q", idOrName), "see `apibuilder apis list`")
	}
	subjectOf(ctx).is(api)
	return api, err
}

func (s *Server) listAPIs(_ http.ResponseWriter, r *http.Request) (any, error) {
	apis, err := s.store.APIs(r.Context())
	return each(callerOf(r.Context()).visible(apis), s.apiOut), err
}

func (s *Server) showAPI(_ http.ResponseWriter, r *http.Request) (any, error) {
	api, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	versions, err := s.store.Versions(r.Context(), api.ID)
	if err != nil {
		return nil, err
	}
	exits, err := s.store.Exits(r.Context(), api.ID, shownExits)
	if err != nil {
		return nil, err
	}
	plan, err := s.planOf(r.Context(), api.UserID)
	if err != nil {
		return nil, err
	}
	out := s.apiOut(api)
	out.Plan, out.Instances = plan.Name, each(s.lifecycle.Instances(api.ID), instanceOut)
	if reached := s.lifecycle.Egress(api.ID); reached.Connections+reached.Refused > 0 {
		out.Egress = &reached
	}
	out.Versions = each(versions, func(v store.Version) Version { return s.versionOut(v, plan) })
	out.Exits = each(exits, func(e store.Exit) Exit {
		return Exit{Version: e.Version, Reason: e.Reason, Detail: e.Detail, Output: e.Output, Time: e.Time}
	})
	for _, v := range versions {
		if v.Number == api.ActiveVersion {
			grant := s.deployer.Grant(plan, v.Limits)
			limits := limitsOut(grant.Limits)
			out.Limits, out.LimitOrigins = &limits, originsOut(grant.Origins)
		}
	}
	return out, nil
}

func (s *Server) patchAPI(w http.ResponseWriter, r *http.Request) (any, error) {
	var patch APIPatch
	if err := decode(w, r, maxBody, &patch); err != nil {
		return nil, err
	}
	api, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	if patch.Public != nil {
		api.Public = *patch.Public
	}
	if patch.PublicDocs != nil {
		api.PublicDocs = *patch.PublicDocs
	}
	if patch.Rate != nil {
		if api.Rate, err = rateIn(patch.Rate); err != nil {
			return nil, err
		}
	}
	if err := s.checkHost(patch.Options); err != nil {
		return nil, err
	}
	if api.Options, err = deploy.ApplyOptions(api.Options, patch.Options); err != nil {
		return nil, err
	}
	if len(patch.Options) > 0 {
		if err := s.checkOptions(r.Context(), api, patch.Options); err != nil {
			return nil, err
		}
	}
	if api, err = s.store.UpdateAPI(r.Context(), api); err != nil {
		return nil, err
	}
	if s.cfg.Changed != nil {
		s.cfg.Changed(api)
	}
	return s.apiOut(api), nil
}

// checkOptions refuses what is asked for above what the operator and the owner's plan allow.
func (s *Server) checkOptions(ctx context.Context, api store.API, asked map[string]string) error {
	if err := s.deployer.CheckOptions(api.Options); err != nil {
		return err
	}
	plan, err := s.planOf(ctx, api.UserID)
	if err != nil {
		return err
	}
	return s.deployer.CheckInstances(plan, asked)
}

func (s *Server) deleteAPI(_ http.ResponseWriter, r *http.Request) (any, error) {
	if _, err := s.api(r.Context(), r.PathValue("api")); err != nil {
		return nil, err
	}
	api, err := s.deployer.Delete(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	return s.apiOut(api), nil
}
