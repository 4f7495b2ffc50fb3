package shared

import (
	"context"
	"time"

	"apibuilder/ratelimit"
)

// QuotaAsk is a question for permits of a monthly quota.
type QuotaAsk struct {
	Policy, Key string // of what is counted
	Month       time.Time
	Quota       int64
	Used        int64 // what is known to have been used in the month, by whomever
	Extra       int64 // permits that were used and never asked for; below zero: that are given back
	Want        int64 // at least 0
}

// QuotaGrant is the answer to a QuotaAsk.
type QuotaGrant struct {
	Granted int64 // 0 to Want
	Given   int64 // to all nodes in that month, after it
}

// Ledger keeps how many permits of each quota were given in each month. A question first makes that number
// max(given + Extra, Used, 0); then it gets min(Want, Quota - given) permits, or none, which are added to it. A Ledger may be used
// concurrently.
type Ledger interface {
	LeaseQuota(ctx context.Context, ask QuotaAsk) (QuotaGrant, error)
	// UsedQuota returns how many requests of a quota are known to have been admitted in a month.
	UsedQuota(ctx context.Context, q ratelimit.Quota, month time.Time) (int64, error)
}
