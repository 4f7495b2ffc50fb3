package store

import "time"

// PermitAsk is a node's question for permits of a rate limit that all nodes share.
type PermitAsk struct {
	Name  string        // of what is counted
	Step  time.Duration // in which one permit comes back
	Burst int64         // permits of a full quota
	Valid time.Duration // how long the node may use what it gets
	Want  int64
}

// PermitGrant is the answer. Times are from when the database answered.
type PermitGrant struct {
	Granted int64
	Left    int64         // permits that are left after it
	Retry   time.Duration // until there is one, 0 when Left is not
	Full    time.Duration // until all will have come back
}

// QuotaAsk is a node's question for permits of a monthly quota that all nodes share.
type QuotaAsk struct {
	Policy, Key string    // of what is counted
	Month       time.Time // its beginning
	Quota       int64
	Used        int64 // what is known to have been used in the month, by whomever
	Extra       int64 // permits that were used and never asked for; below zero: that are given back
	Want        int64
}

// QuotaGrant is the answer.
type QuotaGrant struct {
	Granted int64
	Given   int64 // to all nodes in that month, after it
}
