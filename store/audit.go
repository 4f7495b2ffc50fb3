package store

import "time"

// AuditEntry is one change that somebody asked the management API for, whatever came of it.
type AuditEntry struct {
	ID      string // the request id
	Time    time.Time
	TokenID string // who; empty: root over the socket
	Role    string
	UserID  string // whose token it is; empty: nobody's
	Method  string
	Path    string
	APIID   string // the API it was about, where it is one that exists
	Status  int    // of the answer
	Error   string // the problem's type; empty when it was done
}

// AuditFilter selects entries; zero fields select everything.
type AuditFilter struct {
	APIID   string
	UserID  string // of the token
	TokenID string
	Since   time.Time
	Until   time.Time // exclusive
	Before  Position  // of entries: those after it in the list
	Limit   int       // newest first; 0: 100
}

// KeptAudit is how many entries a store keeps at least. Of more, the oldest go of whoever has most: nobody who sends many requests has what
// others did forgotten. What was done and what was refused count apart, so that neither is hidden behind the other.
const KeptAudit = 100_000

// AuditRound is after how many entries a store looks whether there are too many.
const AuditRound = 1000
