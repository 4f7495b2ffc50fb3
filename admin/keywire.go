package admin

import "time"

// Key describes a key. Secret is there only in the answer that creates or rotates it.
type Key struct {
	ID         string     `json:"id"`
	API        string     `json:"api,omitempty"`  // the API that it opens
	User       string     `json:"user,omitempty"` // whose APIs it opens, in place of one API
	Name       string     `json:"name"`
	Prefix     string     `json:"prefix"`
	Rate       *Rate      `json:"rate"`
	Quota      int64      `json:"quota,omitempty"` // requests a calendar month, UTC; absent: no limit
	Allow      []string   `json:"allow,omitempty"` // absent: everything
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`
	RevokedAt  *time.Time `json:"revoked_at"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"` // by the records that the store has
	Previous   *Secret    `json:"previous,omitempty"`     // the secret before the last rotation
	Secret     string     `json:"secret,omitempty"`
}

// Secret is one that a key had before, and when it ends.
type Secret struct {
	Prefix string    `json:"prefix"`
	Until  time.Time `json:"until"`
}

// KeyRequest is the body of POST /api/v1/apis/{api}/keys and of POST /api/v1/users/{user}/keys.
type KeyRequest struct {
	Name      string     `json:"name,omitempty"`
	Rate      *Rate      `json:"rate,omitempty"`
	Quota     int64      `json:"quota,omitempty"`
	Allow     []string   `json:"allow,omitempty"` // each like "GET /items/*", see store.ParseScope
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// KeyRotation is the body of POST /api/v1/keys/{key}/rotate.
type KeyRotation struct {
	OverlapSeconds float64 `json:"overlap_seconds"` // how long the secret before is good; 0: it ends at once
}
