package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"apibuilder/ratelimit"
	"apibuilder/store"
)

// Quotas count requests of a month. ratelimit.Monthly is one.
type Quotas interface {
	// Take charges one request to all quotas, or to none of them; a *ratelimit.OverQuota when one is used up, another error when it
	// is not known.
	Take(ctx context.Context, at time.Time, quotas ...ratelimit.Quota) error
	// Return takes back what Take charged at that time.
	Return(at time.Time, quotas ...ratelimit.Quota)
	// Found tells what a quota was found to be when it was read, none too: what is admitted without a quota is not charged, and counts
	// when there is one again.
	Found(q ratelimit.Quota)
}

// uncounted are the Quotas of a Gateway that is given none: they count from its start.
func uncounted() Quotas {
	return ratelimit.NewMonthly(func(context.Context, ratelimit.Quota, time.Time) (int64, error) { return 0, nil })
}

// charge counts the request to the quotas and limits of its key, of the API's owner and of the API, and returns the word why it
// is not admitted, or nothing. One that is refused here is counted nowhere. Preflights of strangers have limits of their own, as large as
// those of requests with a key, which they must not use up.
func (g *Gateway) charge(a *answer, r *http.Request, e *entry, p *pass) string {
	a.quotas = append(append(a.space[:0], p.quotas...), e.quotas...)
	if len(a.quotas) > 0 {
		if err := g.config.Quotas.Take(r.Context(), a.start, a.quotas...); err != nil {
			a.quotas = nil
			return a.overQuota(err)
		}
	}
	checks := append(a.head.checks[:0], p.checks...)
	if p.keyID == "" && !e.address.Unlimited() {
		checks = append(checks, ratelimit.Check{Key: e.id + " " + network(a.from.client), Policy: "address", Limit: e.address, Transient: true})
	}
	shared := len(checks)
	checks = append(checks, e.checks...)
	if p.preflight {
		for i := range checks[shared:] {
			checks[shared+i].Key += " preflights"
		}
	}
	if len(checks) == 0 {
		return ""
	}
	if a.head.limits = g.limiter.Allow(checks...); !a.head.limits.Allowed {
		a.uncharge()
		if a.head.limits.Unavailable {
			return wordStoreUnavailable
		}
		return wordRateLimited
	}
	return ""
}

// overQuota keeps what an error of Quotas means for the answer and returns its word.
func (a *answer) overQuota(err error) string {
	if over, ok := errors.AsType[*ratelimit.OverQuota](err); ok {
		a.retryAfter = over.RetryAfter
		return wordOverQuota
	}
	a.cause, a.usage = fmt.Errorf("%w: quota: %w", errStore, err), nil // a record would count as an admitted request
	return wordStoreUnavailable
}

// uncharge gives back what was charged to quotas. What the record says counts after a restart: see store.Usage.Refused.
func (a *answer) uncharge() {
	if len(a.quotas) > 0 {
		a.gateway.config.Quotas.Return(a.start, a.quotas...)
		a.quotas = nil
	}
}

// network is a client's address as limits count it: an IPv6 address by its first 64 bits, because a single client has all that
// follow them (RFC 4291, 2.5.4). An unknown one, as on a Unix socket, is an address like any other.
func network(client netip.Addr) string {
	if client.Is6() {
		return netip.PrefixFrom(client, 64).Masked().Addr().String()
	}
	return client.String()
}

// addressLimit is what an API allows each address that calls it without a key.
func addressLimit(r store.Rate) ratelimit.Limit {
	if r.Unlimited() {
		return ratelimit.Limit{}
	}
	return ratelimit.Limit{Requests: r.Requests, Per: r.Per}
}
