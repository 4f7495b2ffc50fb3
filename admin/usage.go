package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"apibuilder/store"
)

func (s *Server) readUsage(_ http.ResponseWriter, r *http.Request) (any, error) {
	filter := store.UsageFilter{ID: r.URL.Query().Get("id")}
	var err error
	if filter.Limit, err = number(r, "limit", defaultUsage, maxUsage); err != nil {
		return nil, err
	}
	if filter.APIID, filter.Since, err = s.usageOf(r); err != nil {
		return nil, err
	}
	if err := s.flush(r.Context()); err != nil {
		return nil, err
	}
	records, err := s.store.Usage(r.Context(), filter)
	if err != nil {
		return nil, err
	}
	total, err := s.store.CountUsage(r.Context(), filter.APIID, filter.Since)
	return Usage{Total: total, Records: each(records, usageOut)}, err
}

// usageOf reads what usage is asked for.
func (s *Server) usageOf(r *http.Request) (apiID string, since time.Time, err error) {
	if since, err = sinceIn(r); err != nil {
		return "", since, err
	}
	if r.URL.Query().Get("api") == "" && !callerOf(r.Context()).seesAll() {
		return "", since, badRequest("this token sees the usage of its own APIs only", "name one with api=NAME")
	}
	if name := r.URL.Query().Get("api"); name != "" {
		api, err := s.api(r.Context(), name)
		return api.ID, since, err
	}
	return "", since, nil
}

// sinceIn reads the time from which on something is asked for; zero: from the beginning.
func sinceIn(r *http.Request) (time.Time, error) {
	text := r.URL.Query().Get("since")
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return at, badRequest(fmt.Sprintf("since=%q is no time", text), "give one like 2024-05-01T12:00:00Z")
	}
	return at, nil
}

// flush brings what waits in the journal into the store.
func (s *Server) flush(ctx context.Context) error {
	if s.cfg.Flush == nil {
		return nil
	}
	if err := s.cfg.Flush(ctx); err != nil {
		return fmt.Errorf("bring usage records into the store: %w", err)
	}
	return nil
}

func (s *Server) sumUsage(_ http.ResponseWriter, r *http.Request) (any, error) {
	query := r.URL.Query()
	filter := store.SumFilter{By: store.SumBy(query.Get("by")), KeyID: query.Get("key")}
	if filter.By == store.ByRoute && filter.KeyID != "" {
		return nil, badRequest("sums by route do not tell keys apart", "leave the key out")
	}
	if _, _, err := filter.Columns(); err != nil {
		return nil, badRequest(fmt.Sprintf("by=%q is nothing to sum by", filter.By), "use hour, day, api, key, user or route")
	}
	var err error
	if filter.APIID, filter.Since, err = s.usageOf(r); err != nil {
		return nil, err
	}
	if name := query.Get("user"); name != "" && !callerOf(r.Context()).seesAll() {
		return nil, badRequest("this token sees the usage of its own APIs only", "leave the user out")
	} else if name != "" {
		user, err := s.user(r.Context(), name)
		if err != nil {
			return nil, err
		}
		filter.UserID = user.ID
	}
	if err := s.flush(r.Context()); err != nil {
		return nil, err
	}
	sums, err := s.store.SumUsage(r.Context(), filter)
	since, _ := filter.Spans()
	return UsageSums{By: string(filter.By), Since: timeOut(since), Sums: each(sums, sumOut)}, err
}

// listQuotas tells of every quota that is set, users' by their plans first.
func (s *Server) listQuotas(_ http.ResponseWriter, r *http.Request) (any, error) {
	ctx := r.Context()
	if err := s.flush(ctx); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	all := []QuotaUse{}
	add := func(of, id, name string, quota int64, filter store.SumFilter) error {
		if quota == 0 {
			return nil
		}
		filter.Since = month
		sums, err := s.store.SumUsage(ctx, filter)
		if err != nil {
			return err
		}
		all = append(all, QuotaUse{of, id, name, quota, sums[0].Admitted, month.AddDate(0, 1, 0)})
		return nil
	}
	plans, err := s.store.Plans(ctx)
	if err != nil {
		return nil, err
	}
	ofPlan := map[string]int64{}
	for _, p := range plans {
		ofPlan[p.Name] = p.Quota
	}
	users, err := s.store.Users(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		if err := add("plan", u.ID, u.Name, ofPlan[u.Plan], store.SumFilter{UserID: u.ID}); err != nil {
			return nil, err
		}
	}
	apis, err := s.store.APIs(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range apis {
		if err := add("api", a.ID, a.Name, a.Options.Quota, store.SumFilter{APIID: a.ID}); err != nil {
			return nil, err
		}
	}
	keys, err := s.allKeys(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.RevokedAt.IsZero() {
			if err := add("key", k.ID, k.Name, k.Quota, store.SumFilter{KeyID: k.ID}); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}
