package admin

import (
	"context"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"apibuilder/store"
)

const (
	auditTimeout       = 10 * time.Second
	maxAudit           = 10000
	longestAuditedPath = 500
)

// AuditEntry is one change that was asked for.
type AuditEntry struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"request_id"`
	Token     string    `json:"token,omitempty"` // id; absent: root over the socket
	Role      string    `json:"role"`
	User      string    `json:"user,omitempty"`
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	API       string    `json:"api,omitempty"` // id
	Status    int       `json:"status"`
	Error     string    `json:"error,omitempty"` // the problem's type; absent when it was done
}

// subject is what a request turned out to be about, filled in on the way.
type subject struct {
	apiID  string
	status int
	word   string
	name   string // what the body names, where the path does not
}

type subjectKey struct{}

func subjectOf(ctx context.Context) *subject {
	s, _ := ctx.Value(subjectKey{}).(*subject)
	return s
}

// audited writes down what a request that may change something came to. A deploy that fails after its answer has begun has
// status 200 and the reason.
func (s *Server) audited(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions:
			next(w, r)
			return
		}
		about := &subject{status: http.StatusOK}
		r = r.WithContext(context.WithValue(r.Context(), subjectKey{}, about))
		defer s.writeDown(r, about)
		next(w, r)
	}
}

func (s *Server) writeDown(r *http.Request, about *subject) {
	c := callerOf(r.Context())
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), auditTimeout)
	defer cancel()
	path := strings.TrimSpace(r.URL.EscapedPath() + " " + about.name)
	err := s.store.AddAudit(ctx, store.AuditEntry{
		ID: requestID(r), TokenID: c.token, Role: string(c.role), UserID: c.userID, Method: r.Method,
		Path: path[:min(len(path), longestAuditedPath)], APIID: about.apiID, Status: about.status, Error: about.word,
	})
	if err != nil {
		s.cfg.Log.Error("the audit log misses an entry", zap.String("request_id", requestID(r)), zap.String("method", r.Method),
			zap.String("path", path), zap.String("token", c.token), zap.Error(err))
	}
}

// failed notes a problem that is told to the caller.
func (a *subject) failed(p *Problem) {
	if a != nil {
		a.status, a.word = p.Status, p.Type
	}
}

// replayed notes that an earlier answer was given again.
func (a *subject) replayed(status int) {
	if a != nil {
		a.status, a.name = status, "replayed"
	}
}

// serverAtFault reports whether what was answered was no fault of the client's, or that there was no place for it just now.
func (a *subject) serverAtFault() bool {
	return a != nil && (a.status >= http.StatusInternalServerError || a.status == http.StatusTooManyRequests)
}

func (a *subject) called(name string) {
	if a != nil {
		a.name = name[:min(len(name), longestAuditedPath)]
	}
}

func (a *subject) is(api store.API) {
	if a != nil {
		a.apiID = api.ID
	}
}

// about notes the id of the API that a request is about, empty for none.
func (a *subject) about(apiID string) {
	if a != nil {
		a.apiID = apiID
	}
}

func (s *Server) readAudit(w http.ResponseWriter, r *http.Request) (any, error) {
	p, err := partOf(r, "audit", 2)
	if err != nil {
		return nil, err
	}
	f := store.AuditFilter{TokenID: r.URL.Query().Get("token"), Limit: p.more()}
	if f.Before, err = p.position(); err != nil {
		return nil, err
	}
	if f.Since, err = timeIn(r, "since"); err != nil {
		return nil, err
	}
	if f.Until, err = timeIn(r, "until"); err != nil {
		return nil, err
	}
	if f.UserID, err = s.userFilter(r); err != nil {
		return nil, err
	}
	if f.APIID = r.URL.Query().Get("api"); f.APIID != "" {
		if f.APIID, err = s.apiOrGone(r.Context(), f.APIID); err != nil {
			return nil, err
		}
	}
	entries, err := s.store.Audit(r.Context(), f)
	if err != nil {
		return nil, err
	}
	key := func(e store.AuditEntry) []string { return positionKey(e.Time, e.ID) }
	return page(w, r, p, entries, key, func(e store.AuditEntry) AuditEntry {
		return AuditEntry{
			Time: e.Time, RequestID: e.ID, Token: e.TokenID, Role: e.Role, User: e.UserID, Method: e.Method, Path: e.Path,
			API: e.APIID, Status: e.Status, Error: e.Error,
		}
	}), nil
}
