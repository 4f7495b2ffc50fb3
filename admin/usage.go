package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"apibuilder/store"
)

func (s *Server) readUsage(w http.ResponseWriter, r *http.Request) (any, error) {
	p, err := partOf(r, "usage", 2)
	if err != nil {
		return nil, err
	}
	filter := store.UsageFilter{ID: r.URL.Query().Get("id"), KeyID: r.URL.Query().Get("key"), Limit: p.more()}
	if filter.Before, err = p.position(); err != nil {
		return nil, err
	}
	if filter.Until, err = timeIn(r, "until"); err != nil {
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
	total, err := s.countUsage(r.Context(), filter, len(records))
	records, next := cut(w, r, p, records, func(u store.Usage) []string { return positionKey(u.Time, u.ID) })
	return Usage{Total: total, Records: each(records, usageOut), Next: next}, err
}

// countUsage counts the requests that a filter selects; found is how many have its ID.
func (s *Server) countUsage(ctx context.Context, f store.UsageFilter, found int) (int64, error) {
	if f.ID != "" {
		return int64(found), nil
	}
	total, err := s.store.CountUsage(ctx, f.APIID, f.KeyID, f.Since)
	if err != nil || f.Until.IsZero() {
		return total, err
	}
	if f.Until.Before(f.Since) {
		return 0, nil
	}
	later, err := s.store.CountUsage(ctx, f.APIID, f.KeyID, f.Until)
	return total - later, err
}

// usageOf reads what usage is asked for.
func (s *Server) usageOf(r *http.Request) (apiID string, since time.Time, err error) {
	if since, err = timeIn(r, "since"); err != nil {
		return "", since, err
	}
	if r.URL.Query().Get("api") == "" && !callerOf(r.Context()).seesAll() {
		return "", since, badRequest("this token sees the usage of its own APIs only", "name one with api=NAME")
	}
	name := r.URL.Query().Get("api")
	if name == "" {
		return "", since, nil
	}
	if callerOf(r.Context()).seesAll() {
		apiID, err = s.apiOrGone(r.Context(), name) // its records and sums stay
		return apiID, since, err
	}
	api, err := s.api(r.Context(), name)
	return api.ID, since, err
}

// timeIn reads a parameter that bounds the time of what is asked for; zero: it does not.
func timeIn(r *http.Request, name string) (time.Time, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := parseTime(text)
	if err != nil {
		return at, badRequest(fmt.Sprintf("%s=%q is no time", name, text), "give one like 2024-05-01T12:00:00Z")
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

func (s *Server) sumUsage(w http.ResponseWriter, r *http.Request) (any, error) {
	query := r.URL.Query()
	filter := store.SumFilter{By: store.SumBy(query.Get("by")), KeyID: query.Get("key")}
	if filter.By == store.ByRoute && filter.KeyID != "" {
		return nil, badRequest("sums by route do not tell keys apart", "leave the key out")
	}
	if _, _, err := filter.Columns(); err != nil {
		return nil, badRequest(fmt.Sprintf("by=%q is nothing to sum by", filter.By), "use hour, day, api, key, user or route")
	}
	var err error
	if filter.APIID, filter.UserID, filter.Since, err = s.toSum(r); err != nil {
		return nil, err
	}
	sums, err := s.store.SumUsage(r.Context(), filter)
	if err != nil {
		return nil, err
	}
	sums, next, err := partOfAll(w, r, "sums by "+string(filter.By), sums, func(s store.Sum) []string {
		return []string{padded(max(s.Start.UnixMicro(), 0)), s.APIID, s.KeyID, s.UserID, shortened(s.Route)}
	})
	since, _ := filter.Spans()
	return UsageSums{By: string(filter.By), Since: timeOut(since), Sums: each(sums, sumOut), Next: next}, err
}

// toSum reads of which API, of whose and since when usage is to be summed, empty and zero for all, and has the store know all of it.
func (s *Server) toSum(r *http.Request) (apiID, userID string, since time.Time, err error) {
	if apiID, since, err = s.usageOf(r); err != nil {
		return "", "", time.Time{}, err
	}
	if userID, err = s.userIn(r); err != nil {
		return "", "", time.Time{}, err
	}
	return apiID, userID, since, s.flush(r.Context())
}

// userIn reads whose usage is asked for; empty: everybody's.
func (s *Server) userIn(r *http.Request) (id string, err error) {
	name := r.URL.Query().Get("user")
	if name == "" {
		return "", nil
	}
	if !callerOf(r.Context()).seesAll() {
		return "", badRequest("this token sees the usage of its own APIs only", "leave the user out")
	}
	user, err := s.user(r.Context(), name)
	return user.ID, err
}

func (s *Server) sumEgress(w http.ResponseWriter, r *http.Request) (any, error) {
	filter := store.EgressFilter{By: store.EgressBy(r.URL.Query().Get("by"))}
	if _, _, err := filter.Columns(); err != nil {
		return nil, badRequest(fmt.Sprintf("by=%q is nothing to sum by", filter.By), "use hour, day, api, user or destination")
	}
	var err error
	if filter.APIID, filter.UserID, filter.Since, err = s.toSum(r); err != nil {
		return nil, err
	}
	sums, err := s.store.SumEgress(r.Context(), filter)
	if err != nil {
		return nil, err
	}
	sums, next, err := partOfAll(w, r, "egress by "+string(filter.By), sums, func(s store.EgressSum) []string {
		return []string{padded(max(s.Start.UnixMicro(), 0)), s.APIID, s.UserID, shortened(s.To)}
	})
	since, _ := filter.Spans()
	return EgressSums{By: string(filter.By), Since: timeOut(since), Sums: each(sums, egressSumOut), Next: next}, err
}

// quota is one that is set, and what its use is summed by.
type quota struct {
	of, id, name string
	most         int64
	filter       store.SumFilter
}

// listQuotas tells of every quota that is set, users' by their plans first.
func (s *Server) listQuotas(w http.ResponseWriter, r *http.Request) (any, error) {
	ctx := r.Context()
	all, err := s.quotas(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.flush(ctx); err != nil {
		return nil, err
	}
	order := map[string]string{"plan": "0", "api": "1", "key": "2"}
	some, next, err := partOfAll(w, r, "quotas", all, func(q quota) []string { return []string{order[q.of], q.name, q.id} })
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	out := Page[QuotaUse]{Items: []QuotaUse{}, Next: next}
	for _, q := range some {
		q.filter.Since = month
		sums, err := s.store.SumUsage(ctx, q.filter)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, QuotaUse{q.of, q.id, q.name, q.most, sums[0].Admitted, month.AddDate(0, 1, 0)})
	}
	return out, nil
}

// quotas are all that are set.
func (s *Server) quotas(ctx context.Context) (all []quota, err error) {
	add := func(q quota) {
		if q.most != 0 {
			all = append(all, q)
		}
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
		add(quota{"plan", u.ID, u.Name, ofPlan[u.Plan], store.SumFilter{UserID: u.ID}})
	}
	apis, err := s.store.FindAPIs(ctx, store.APIFilter{})
	if err != nil {
		return nil, err
	}
	for _, a := range apis {
		add(quota{"api", a.ID, a.Name, a.Options.Quota, store.SumFilter{APIID: a.ID}})
	}
	keys, err := s.store.FindKeys(ctx, store.KeyFilter{})
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.RevokedAt.IsZero() {
			add(quota{"key", k.ID, k.Name, k.Quota, store.SumFilter{KeyID: k.ID}})
		}
	}
	return all, nil
}
