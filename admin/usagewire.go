package admin

import "time"

// Usage is the answer of GET /api/v1/usage: how many requests there were, and the newest records of them.
type Usage struct {
	Total   int64         `json:"total"`
	Records []UsageRecord `json:"records"`
	Next    string        `json:"next,omitempty"` // see Page
}

// UsageRecord is one consumer's request.
type UsageRecord struct {
	ID               string    `json:"id"`
	API              string    `json:"api"`
	Version          int       `json:"version"`
	Key              string    `json:"key,omitempty"`
	Time             time.Time `json:"time"`
	Method           string    `json:"method"`
	Path             string    `json:"path"`
	Route            string    `json:"route,omitempty"` // where the template is known
	Node             string    `json:"node,omitempty"`
	Status           int       `json:"status"`
	Error            string    `json:"error,omitempty"`
	BytesIn          int64     `json:"bytes_in"`
	BytesOut         int64     `json:"bytes_out"`
	Seconds          float64   `json:"seconds"`
	StartWaitSeconds float64   `json:"start_wait_seconds,omitempty"`
	CPUSeconds       float64   `json:"cpu_seconds,omitempty"` // where it is known
}

// UsageSums is the answer of GET /api/v1/usage/sums.
type UsageSums struct {
	By    string     `json:"by,omitempty"`
	Since *time.Time `json:"since,omitempty"` // the beginning of an hour
	Sums  []UsageSum `json:"sums"`
	Next  string     `json:"next,omitempty"` // see Page
}

// UsageSum is what requests have together. Of Start, API, Key, User and Route there are those that the sums are by.
type UsageSum struct {
	Start            *time.Time `json:"start,omitempty"` // of the hour or day, UTC
	API              string     `json:"api,omitempty"`
	Key              string     `json:"key,omitempty"` // absent by key: without one
	User             string     `json:"user,omitempty"`
	Route            string     `json:"route,omitempty"` // absent by route: not known
	Requests         int64      `json:"requests"`
	Admitted         int64      `json:"admitted"` // not refused for a limit or quota
	ClientErrors     int64      `json:"client_errors"`
	ServerErrors     int64      `json:"server_errors"`
	BytesIn          int64      `json:"bytes_in"`
	BytesOut         int64      `json:"bytes_out"`
	Seconds          float64    `json:"seconds"`
	StartWaitSeconds float64    `json:"start_wait_seconds"`
	CPUSeconds       float64    `json:"cpu_seconds"`
}

// EgressSums is the answer of GET /api/v1/usage/egress.
type EgressSums struct {
	By    string      `json:"by,omitempty"`
	Since *time.Time  `json:"since,omitempty"` // the beginning of an hour
	Sums  []EgressSum `json:"sums"`
	Next  string      `json:"next,omitempty"` // see Page
}

// EgressSum is what programs reached outside and were refused. Of Start, API, User and Destination there are those that the sums
// are by.
type EgressSum struct {
	Start         *time.Time `json:"start,omitempty"` // of the hour or day, UTC
	API           string     `json:"api,omitempty"`
	User          string     `json:"user,omitempty"`
	Destination   string     `json:"destination,omitempty"` // name or address and port; others: those beyond the first 64 of each kind
	Connections   int64      `json:"connections"`
	BytesSent     int64      `json:"bytes_sent"`
	BytesReceived int64      `json:"bytes_received"`
	Refused       int64      `json:"refused"` // connections and look-ups
}

// QuotaUse is one line of GET /api/v1/quotas: a monthly quota, and how much of it this month's requests have used.
type QuotaUse struct {
	Of       string    `json:"of"` // plan (of a user), api or key
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Quota    int64     `json:"quota"`
	Used     int64     `json:"used"`
	ResetsAt time.Time `json:"resets_at"`
}
