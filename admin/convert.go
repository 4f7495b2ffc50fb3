package admin

import (
	"maps"
	"math"
	"slices"
	"time"

	"apibuilder/deploy"
	"apibuilder/store"
	"apibuilder/store/options"
)

func rateOut(r store.Rate) *Rate {
	if r.Unlimited() {
		return nil
	}
	return &Rate{Requests: r.Requests, Seconds: r.Per.Seconds()}
}

// rateIn reads a rate; nil is no limit.
func rateIn(r *Rate) (store.Rate, error) {
	if r == nil || r.Requests == 0 {
		return store.Rate{}, nil
	}
	if r.Requests < 0 || !(r.Seconds >= 0.001 && r.Seconds <= 366*86400) {
		return store.Rate{}, badRequest("a rate needs a positive number of requests in between a millisecond and a year",
			`give one like {"requests": 60, "seconds": 60}`)
	}
	return store.Rate{Requests: r.Requests, Per: time.Duration(math.Round(r.Seconds * float64(time.Second)))}, nil
}

func limitsOut(l store.Limits) Limits {
	return Limits{MemoryBytes: l.MemoryBytes, CPU: l.CPU, Pids: l.Pids}
}

func originsOut(o deploy.Origins) *Origins {
	return &Origins{Memory: string(o.Memory), CPU: string(o.CPU), Pids: string(o.Pids)}
}

func timeOut(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (s *Server) apiOut(a store.API) API {
	state := "serving"
	if a.ActiveVersion == 0 {
		state = "deploying"
	}
	url := s.cfg.URL(a.ID)
	var trouble *Trouble
	if t, ok := s.lifecycle.Trouble(a.ID); ok {
		trouble = &Trouble{Reason: string(t.Reason), Failures: t.Failures, Until: t.Until.UTC(), Loop: t.Loop}
	}
	var addresses []string
	if s.cfg.Addresses != nil {
		addresses = s.cfg.Addresses(a)
	}
	return API{
		Trouble: trouble, Addresses: addresses,
		ID: a.ID, Name: a.Name, URL: url, DocsURL: url + "/docs", State: state, ActiveVersion: a.ActiveVersion,
		Running: s.lifecycle.Running(a.ID),
		Public:  a.Public, PublicDocs: a.PublicDocs, User: a.UserID, Rate: rateOut(a.Rate), Options: options.Texts(a.Options),
		Traffic:   each(a.Split(), func(s store.Share) Share { return Share(s) }),
		CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt,
	}
}

func (s *Server) versionOut(v store.VersionSummary, plan store.Plan) Version {
	return Version{
		Number: v.Number, State: string(v.State), Python: v.Python, EnvNames: slices.Sorted(maps.Keys(v.Env)),
		Limits: limitsOut(s.deployer.Grant(plan, v.Limits).Limits), Environment: v.Environment, Reason: v.Failure, Detail: v.Detail,
		CodeBytes: v.CodeBytes, Entry: v.Entry, Files: v.Files, FileBytes: v.FileBytes, Requirements: v.Requirements, CreatedAt: v.CreatedAt,
	}
}

func keyOut(k store.Key) Key {
	out := Key{
		ID: k.ID, API: k.APIID, User: k.UserID, Name: k.Name, Prefix: k.Prefix, Rate: rateOut(k.Rate), Quota: k.Quota, Allow: k.Allow,
		CreatedAt: k.CreatedAt, ExpiresAt: timeOut(k.ExpiresAt), RevokedAt: timeOut(k.RevokedAt), LastUsedAt: timeOut(k.LastUsedAt),
	}
	if !k.PreviousUntil.IsZero() {
		out.Previous = &Secret{Prefix: k.PreviousPrefix, Until: k.PreviousUntil}
	}
	return out
}

func userOut(u store.User) User {
	return User{ID: u.ID, Name: u.Name, Plan: u.Plan, CreatedAt: u.CreatedAt}
}

func planOut(p store.Plan) Plan {
	return Plan{Name: p.Name, Rate: rateOut(p.Rate), Quota: p.Quota, Limits: limitsOut(p.Limits), Ceiling: limitsOut(p.Ceiling), Instances: Instances(p.Instances)}
}

func tokenOut(t store.Token) Token {
	return Token{
		ID: t.ID, Name: t.Name, Prefix: t.Prefix, Role: string(t.Role), User: t.UserID,
		CreatedAt: t.CreatedAt, ExpiresAt: timeOut(t.ExpiresAt), RevokedAt: timeOut(t.RevokedAt),
	}
}

func usageOut(u store.Usage) UsageRecord {
	return UsageRecord{
		ID: u.ID, API: u.APIID, Version: u.Version, Key: u.KeyID, Time: u.Time, Method: u.Method, Path: u.Path, Route: u.Route,
		Node: u.Node, Status: u.Status, Error: u.Error, BytesIn: u.BytesIn, BytesOut: u.BytesOut,
		Seconds: u.Duration.Seconds(), StartWaitSeconds: u.StartWait.Seconds(), CPUSeconds: u.CPU.Seconds(),
	}
}

func sumOut(s store.Sum) UsageSum {
	return UsageSum{
		Start: timeOut(s.Start), API: s.APIID, Key: s.KeyID, User: s.UserID, Route: s.Route, Requests: s.Requests, Admitted: s.Admitted,
		ClientErrors: s.ClientErrors, ServerErrors: s.ServerErrors, BytesIn: s.BytesIn, BytesOut: s.BytesOut,
		Seconds: s.Duration.Seconds(), StartWaitSeconds: s.StartWait.Seconds(), CPUSeconds: s.CPU.Seconds(),
	}
}

func egressSumOut(s store.EgressSum) EgressSum {
	return EgressSum{
		Start: timeOut(s.Start), API: s.APIID, User: s.UserID, Destination: s.To, Connections: s.Connections, BytesSent: s.Sent,
		BytesReceived: s.Received, Refused: s.Refused,
	}
}

// each converts a list; an empty one is [] in JSON, not null.
func each[A, B any](list []A, convert func(A) B) []B {
	out := make([]B, 0, len(list))
	for _, a := range list {
		out = append(out, convert(a))
	}
	return out
}
