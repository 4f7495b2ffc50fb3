package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"apibuilder/deploy"
	"apibuilder/store"
)

const shownExits = 10

// ShownVersions is how many of its newest versions an API is shown with, beside those that get requests; the others are in the list of its
// versions.
const ShownVersions = 100

// api finds the API that a request's path names.
func (s *Server) api(ctx context.Context, idOrName string) (store.API, error) {
	api, err := s.store.API(ctx, idOrName)
	if errors.Is(err, store.ErrNotFound) || err == nil && !callerOf(ctx).sees(api) {
		return store.API{}, notFound(fmt.Sprintf("there is no API %q", idOrName), "see `apibuilder apis list`")
	}
	subjectOf(ctx).is(api)
	return api, err
}

// apiOrGone returns the id of an API of that id or name. The id of one that is gone is good too, for what is kept of it; who asks sees all.
func (s *Server) apiOrGone(ctx context.Context, idOrName string) (string, error) {
	api, err := s.store.API(ctx, idOrName)
	switch {
	case err == nil:
		return api.ID, nil
	case !errors.Is(err, store.ErrNotFound):
		return "", err
	case store.ValidName(idOrName) == nil:
		return "", notFound(fmt.Sprintf("there is no API %q", idOrName), "see `apibuilder apis list`, or give the id of one that was deleted")
	}
	return idOrName, nil
}

func (s *Server) listAPIs(w http.ResponseWriter, r *http.Request) (any, error) {
	query := r.URL.Query()
	p, err := partOf(r, "apis", 1)
	if err != nil {
		return nil, err
	}
	f := store.APIFilter{Name: query.Get("name"), State: store.APIState(query.Get("state")), Limit: p.more()}
	if p.after != nil {
		f.After = p.after[0]
	}
	if text := query.Get("public"); text != "" {
		public := text == "true"
		f.Public = &public
	}
	if f.UserID, err = s.userFilter(r); err != nil {
		return nil, err
	}
	apis, err := s.store.FindAPIs(r.Context(), f)
	if err != nil {
		return nil, err
	}
	return page(w, r, p, callerOf(r.Context()).visible(apis), func(a store.API) []string { return []string{a.Name} }, s.apiOut), nil
}

// userFilter is the id of the user whose things are listed: the one that is asked for, or the only one that the caller sees.
func (s *Server) userFilter(r *http.Request) (string, error) {
	name, c := r.URL.Query().Get("user"), callerOf(r.Context())
	if !c.seesAll() {
		if name == "" || name == c.userID {
			return c.userID, nil
		}
		own, err := s.store.User(r.Context(), c.userID)
		if err == nil && own.Name != name { // nobody learns which users there are
			err = badRequest("this token sees what belongs to its own user only", "leave the user out")
		}
		return c.userID, err
	}
	if name == "" {
		return "", nil
	}
	user, err := s.user(r.Context(), name)
	return user.ID, err
}

func (s *Server) showAPI(_ http.ResponseWriter, r *http.Request) (any, error) {
	api, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	versions, err := s.shownVersions(r.Context(), api)
	if err != nil {
		return nil, err
	}
	if err := s.nameEnv(r.Context(), api, versions); err != nil {
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
	out.Versions = each(versions, func(v store.VersionSummary) Version { return s.versionOut(v, plan) })
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
	return tagged{out, tagOf(api)}, nil
}

// shownVersions are the newest of an API, newest first, and those that get requests.
func (s *Server) shownVersions(ctx context.Context, api store.API) ([]store.VersionSummary, error) {
	newest, err := s.store.FindVersions(ctx, store.VersionFilter{APIID: api.ID, Limit: ShownVersions})
	if err != nil {
		return nil, err
	}
	for _, share := range slices.Backward(api.Shares()) { // by number
		if slices.ContainsFunc(newest, func(v store.VersionSummary) bool { return v.Number == share.Version }) {
			continue
		}
		v, err := s.store.Version(ctx, api.ID, share.Version)
		if errors.Is(err, store.ErrNotFound) { // the API is gone since
			continue
		}
		if err != nil {
			return nil, err
		}
		newest = append(newest, v.Summary())
	}
	return newest, nil
}

// nameEnv puts the environment variables of the version that serves, or the newest where none does, into a list: the others of an API are any
// number, and each has to be opened.
func (s *Server) nameEnv(ctx context.Context, api store.API, versions []store.VersionSummary) error {
	for i := range versions {
		if versions[i].Number != api.ActiveVersion && (api.ActiveVersion != 0 || i > 0) {
			continue
		}
		v, err := s.store.Version(ctx, api.ID, versions[i].Number)
		if err != nil && !errors.Is(err, store.ErrNotFound) { // gone since
			return err
		}
		versions[i].Env = v.Env
		return nil
	}
	return nil
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
	condition, err := conditionOf(r)
	if err != nil {
		return nil, err
	}
	if err := s.checkHost(r.Context(), patch.Options); err != nil {
		return nil, err
	}
	plan, err := s.planOf(r.Context(), api.UserID)
	if err != nil {
		return nil, err
	}
	api, err = s.store.ChangeAPI(r.Context(), api.ID, func(now store.API) (store.API, error) {
		if err := condition.check(true, tagOf(now)); err != nil {
			return now, err
		}
		return s.applyPatch(now, plan, patch)
	})
	if err != nil {
		return nil, err
	}
	if s.cfg.Changed != nil {
		s.cfg.Changed(api)
	}
	return s.taggedAPI(api), nil
}

// taggedAPI shows an API after a change, with its tag as it is then.
func (s *Server) taggedAPI(api store.API) tagged { return tagged{s.apiOut(api), tagOf(api)} }

// applyPatch returns an API with the settings that a patch names.
func (s *Server) applyPatch(api store.API, plan store.Plan, patch APIPatch) (store.API, error) {
	if patch.Public != nil {
		api.Public = *patch.Public
	}
	if patch.PublicDocs != nil {
		api.PublicDocs = *patch.PublicDocs
	}
	var err error
	if patch.Rate != nil {
		if api.Rate, err = rateIn(patch.Rate); err != nil {
			return api, err
		}
	}
	if api.Options, err = deploy.ApplyOptions(api.Options, patch.Options); err != nil || len(patch.Options) == 0 {
		return api, err
	}
	return api, s.checkOptions(plan, api, patch.Options)
}

// checkOptions refuses what is asked for above what the operator and the owner's plan allow.
func (s *Server) checkOptions(plan store.Plan, api store.API, asked map[string]string) error {
	if err := s.deployer.CheckOptions(api.Options); err != nil {
		return err
	}
	return s.deployer.CheckInstances(plan, asked)
}

func (s *Server) deleteAPI(_ http.ResponseWriter, r *http.Request) (any, error) {
	api, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	condition, err := conditionOf(r)
	if err != nil {
		return nil, err
	}
	// By its id: the name may be somebody else's by now.
	if api, err = s.deployer.Delete(r.Context(), api.ID, checkOf[store.API](condition)); err != nil {
		return nil, err
	}
	return s.apiOut(api), nil
}
