package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"apibuilder/store"
)

// caller is whoever sent a request: root over the socket, or the holder of a token.
type caller struct {
	role   store.Role
	userID string // whose APIs it sees; empty: all
	token  string // id; empty: root over the socket
	secret string // the token itself
	visit  *visit // what the request may take; nil: as much as it likes
}

type callerKey struct{}

func asCaller(r *http.Request, c caller) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, c))
}

// callerOf returns the caller of a request; one who may nothing where there is none.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// What is not named here is for operators. An API in a path is one that the caller sees, see Server.api: of others nobody
// but an operator learns whether they are there.
var (
	readerMay = patterns(`
		GET /api/v1/apis
		GET /api/v1/apis/{api}
		GET /api/v1/apis/{api}/keys
		GET /api/v1/apis/{api}/keys/{key}
		GET /api/v1/apis/{api}/versions
		GET /api/v1/apis/{api}/versions/{version}
		GET /api/v1/apis/{api}/logs
		GET /api/v1/apis/{api}/versions/{version}/environment
		GET /api/v1/pythons
		GET /api/v1/usage
		GET /api/v1/usage/sums
		GET /api/v1/usage/egress
		GET /api/v1/server
		GET /api/v1/top
		GET /api/v1/openapi.json`)
	authorMay = patterns(`
		POST /api/v1/deploys
		POST /api/v1/locks
		PATCH /api/v1/apis/{api}
		DELETE /api/v1/apis/{api}
		POST /api/v1/apis/{api}/keys
		DELETE /api/v1/apis/{api}/keys/{key}
		POST /api/v1/apis/{api}/keys/{key}/rotate
		POST /api/v1/apis/{api}/sleep
		POST /api/v1/apis/{api}/exec
		GET /api/v1/apis/{api}/versions/{version}/source
		POST /api/v1/apis/{api}/wake
		PUT /api/v1/apis/{api}/traffic
		POST /api/v1/apis/{api}/promote
		POST /api/v1/apis/{api}/rollback`)
	// Readers of everything read what belongs to no API too.
	wideReaderMay = patterns(`
		GET /metrics
		GET /api/v1/audit
		GET /api/v1/nodes
		GET /api/v1/quotas
		GET /api/v1/users
		GET /api/v1/users/{user}
		GET /api/v1/plans
		GET /api/v1/plans/{plan}`)
)

func patterns(text string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			all[line] = true
		}
	}
	return all
}

// may reports whether the caller may use a route.
func (c caller) may(pattern string) bool {
	switch c.role {
	case store.RoleOperator:
		return true
	case store.RoleAuthor:
		return c.userID != "" && (authorMay[pattern] || readerMay[pattern])
	case store.RoleReader:
		return readerMay[pattern] || c.userID == "" && wideReaderMay[pattern]
	}
	return false
}

// sees reports whether an API is there for the caller.
func (c caller) sees(api store.API) bool {
	switch c.role {
	case store.RoleOperator:
		return true
	case store.RoleAuthor:
		return c.userID != "" && api.UserID == c.userID
	case store.RoleReader:
		return c.userID == "" || api.UserID == c.userID
	}
	return false
}

// seesAll reports whether every API is there for the caller.
func (c caller) seesAll() bool {
	return c.role == store.RoleOperator || c.role == store.RoleReader && c.userID == ""
}

// visible are the APIs that are there for the caller, by name, without their code.
func (s *Server) visible(ctx context.Context) ([]store.API, error) {
	c := callerOf(ctx)
	var f store.APIFilter
	if !c.seesAll() {
		f.UserID = c.userID
	}
	apis, err := s.store.FindAPIs(ctx, f)
	return c.visible(apis), err
}

func (c caller) visible(apis []store.API) []store.API {
	var seen []store.API
	for _, api := range apis {
		if c.sees(api) {
			seen = append(seen, api)
		}
	}
	return seen
}

// checkToken looks the token up by its hash, so nothing can be learned from how long a comparison takes.
func (s *Server) checkToken(r *http.Request) (caller, error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	denied := &requestError{
		"unauthorized", "the token is missing, wrong, expired or revoked",
		"send `Authorization: Bearer abt_...`; make one on the server's machine with `apibuilder tokens create`",
	}
	if !strings.EqualFold(scheme, "Bearer") || !strings.HasPrefix(secret, store.TokenSecretPrefix) {
		return caller{}, denied
	}
	c, err := s.holder(r.Context(), secret)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return caller{}, denied
	case err != nil:
		return caller{}, fmt.Errorf("look up a token: %w", err)
	}
	return c, nil
}

// holder is who holds a token; an ErrNotFound when it is not good, or not any more.
func (s *Server) holder(ctx context.Context, secret string) (caller, error) {
	token, err := s.store.TokenByHash(ctx, store.HashSecret(secret))
	if err != nil {
		return caller{}, err
	}
	if !token.RevokedAt.IsZero() || !token.ExpiresAt.IsZero() && !time.Now().Before(token.ExpiresAt) {
		return caller{}, store.ErrNotFound
	}
	return caller{role: token.Role, userID: token.UserID, token: token.ID, secret: secret}, nil
}

// recheckEvery is how often a stream that may last for ever asks whether its caller may still read it.
const recheckEvery = 2 * time.Second

// whileSeen returns a context that ends when the caller's token does, or the API goes, or to somebody whose APIs the caller does not see.
// While the store is away nothing ends. stop waits for what watches.
func (s *Server) whileSeen(outer context.Context, api store.API) (ctx context.Context, stop func()) {
	c := callerOf(outer)
	ctx, cancel := context.WithCancel(outer)
	if c.secret == "" { // root
		return ctx, cancel
	}
	var work sync.WaitGroup
	work.Go(func() {
		ticker := time.NewTicker(recheckEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			_, err := s.holder(ctx, c.secret)
			if err == nil {
				err = s.stillSeen(ctx, api)
			}
			if errors.Is(err, store.ErrNotFound) {
				cancel()
			}
		}
	})
	return ctx, func() {
		cancel()
		work.Wait()
	}
}

// stillSeen returns a store.ErrNotFound for an API that is not there for the caller any more. As long as nothing has changed it reads no code.
func (s *Server) stillSeen(ctx context.Context, api store.API) error {
	named, err := s.store.FindAPIs(ctx, store.APIFilter{Name: api.Name, UserID: api.UserID})
	if err != nil || slices.ContainsFunc(named, func(now store.API) bool { return now.ID == api.ID }) {
		return err
	}
	now, err := s.store.API(ctx, api.ID)
	if err == nil && !callerOf(ctx).sees(now) {
		err = store.ErrNotFound
	}
	return err
}
