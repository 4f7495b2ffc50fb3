package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"apibuilder/ratelimit"
	"apibuilder/store"
)

// pass is what a presented secret turned out to be. It never changes.
type pass struct {
	keyID  string
	apiID  string        // the API that it opens; empty: see userID
	userID string        // whose APIs it opens; empty as apiID is: no valid key
	until  time.Time     // zero: for ever
	scopes []store.Scope // empty: everything
	checks []ratelimit.Check
	quotas []ratelimit.Quota

	preflight bool // nobody's, but asks before a request for which somebody needs a key
}

// opens reports whether the secret is a key of the API or of its owner, valid or expired.
func (p *pass) opens(e *entry) bool {
	if p.apiID != "" {
		return p.apiID == e.id
	}
	return p.userID != "" && p.userID == e.userID
}

// refuses returns the word why a key that opens the API is not good for this request, now; or nothing. The time is looked at here,
// not when the key is read, so that an expired key ends although it is remembered.
func (p *pass) refuses(r *http.Request, rest string, now time.Time) string {
	if !p.until.IsZero() && !now.Before(p.until) {
		return wordExpiredKey
	}
	if len(p.scopes) == 0 {
		return ""
	}
	path, _, _ := strings.Cut(rest, "?")
	for _, s := range p.scopes {
		if s.Allows(r.Method, path) {
			return ""
		}
	}
	return wordOutOfScope
}

// noKey is the pass of a secret that is no valid key.
func (p *pass) noKey() bool { return p.apiID == "" && p.userID == "" }

func (d *directory) readKey(ctx context.Context, hash [32]byte) (*pass, error) {
	k, err := d.store.KeyByHash(ctx, hash)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return &pass{}, nil
	case err != nil:
		return nil, fmt.Errorf("%w: key: %w", errStore, err)
	case !k.RevokedAt.IsZero():
		return &pass{}, nil
	}
	p := &pass{
		keyID: k.ID, apiID: k.APIID, userID: k.UserID, until: k.Ends(hash),
		checks: appendCheck(nil, "key", k.ID, k.Rate), quotas: appendQuota(nil, "key", k.ID, k.Quota),
	}
	for _, text := range k.Allow {
		scope, err := store.ParseScope(text)
		if err != nil { // somebody else wrote the row; without it the key would be good for more
			return nil, fmt.Errorf("%w: key %s: %w", errStore, k.ID, err)
		}
		p.scopes = append(p.scopes, scope)
	}
	return p, nil
}

func appendCheck(checks []ratelimit.Check, policy, key string, r store.Rate) []ratelimit.Check {
	if r.Unlimited() {
		return checks
	}
	limit := ratelimit.Limit{Requests: r.Requests, Per: r.Per}
	return append(checks, ratelimit.Check{Key: key, Policy: policy, Limit: limit, Place: new(ratelimit.Place)})
}

func appendQuota(quotas []ratelimit.Quota, policy, key string, requests int64) []ratelimit.Quota {
	if requests <= 0 {
		return quotas
	}
	return append(quotas, ratelimit.Quota{Policy: policy, Key: key, Requests: requests})
}
