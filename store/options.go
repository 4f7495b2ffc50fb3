package store

import (
	"encoding/json"
	"fmt"
	"time"
)

// Options are settings of an API that its owner may change at any time, without a new version. A zero field means the
// server's default. What each is called, and which values it takes, is in package store/options. They are stored as one JSON
// object, so that a new one needs no migration.
type Options struct {
	// RequestTimeout bounds the wait for the beginning of the program's answer.
	RequestTimeout time.Duration `json:"request_timeout,omitempty"`
	// Egress is what the program may reach of the network outside, as package egress reads it.
	Egress string `json:"egress,omitempty"`

	// MinInstances run although nobody calls, MaxInstances bound how many there are, and ConcurrencyTarget is how many requests
	// in flight for each instance start one more.
	MinInstances      int `json:"min_instances,omitempty"`
	MaxInstances      int `json:"max_instances,omitempty"`
	ConcurrencyTarget int `json:"concurrency_target,omitempty"`
	// Isolation says what is never shared among requests.
	Isolation Isolation `json:"isolation,omitempty"`

	// Traffic is not set by name: deploys, rollbacks and whoever splits requests keep it.
	Traffic Traffic `json:"traffic,omitzero"`
	// HealthPath is asked whether the program is well: every HealthInterval, for HealthTimeout; after HealthFailures failures in
	// a row the program is replaced. They are those of the program's start.
	HealthPath     string        `json:"health_path,omitempty"`
	HealthInterval time.Duration `json:"health_interval,omitempty"`
	HealthTimeout  time.Duration `json:"health_timeout,omitempty"`
	HealthFailures int           `json:"health_failures,omitempty"`

	// What these bound is told where they are used: gateway.Timeouts and gateway.Limits.
	ConnectTimeout    time.Duration `json:"connect_timeout,omitempty"`
	UploadTimeout     time.Duration `json:"upload_timeout,omitempty"`
	StreamTimeout     time.Duration `json:"stream_timeout,omitempty"`
	TotalTimeout      time.Duration `json:"total_timeout,omitempty"`
	QueueTimeout      time.Duration `json:"queue_timeout,omitempty"`
	DrainTimeout      time.Duration `json:"drain_timeout,omitempty"` // of sandbox.Scale
	MaxBody           int64         `json:"max_body,omitempty"`      // bytes
	MaxHeader         int64         `json:"max_header,omitempty"`    // bytes
	MaxURL            int64         `json:"max_url,omitempty"`       // bytes
	MaxRequests       int           `json:"max_requests,omitempty"`
	MaxRequestsPerKey int           `json:"max_requests_per_key,omitempty"`
	Queue             int           `json:"queue,omitempty"`

	// Host is a name at which the API answers by itself, in lower case. No two APIs have the same: CreateAPI and UpdateAPI
	// return ErrConflict.
	Host string `json:"host,omitempty"`
	// PublicPaths are the requests that need no key: a path, or a method, a space and a path; a star at its end stands for
	// anything.
	PublicPaths []string `json:"public_paths,omitempty"`
	// CORSOrigins are the origins whose pages may call the API, or a star; while there are any, the gateway answers for the
	// program.
	CORSOrigins []string `json:"cors_origins,omitempty"`
	// CORSMethods and CORSHeaders are what those pages may use; none: whatever they ask for.
	CORSMethods []string `json:"cors_methods,omitempty"`
	CORSHeaders []string `json:"cors_headers,omitempty"`
	// CORSCredentials lets those pages send cookies.
	CORSCredentials bool `json:"cors_credentials,omitempty"`
	// CORSMaxAge is how long browsers may remember the answer.
	CORSMaxAge time.Duration `json:"cors_max_age,omitempty"`

	// Sdists are names of packages to build from source, apart by commas, or "all". It acts at the next deploy.
	Sdists string `json:"sdists,omitempty"`

	// Quota is how many requests a calendar month (UTC) all consumers together may make; zero: no limit.
	Quota int64 `json:"quota,omitempty"`
	// RatePerAddress limits each client's address that calls without a key, an IPv6 one by its /64; zero: no limit.
	RatePerAddress Rate `json:"rate_per_address,omitzero"`
}

// Isolation says what requests to one API do not share.
type Isolation string

// IsolateRequests gives each request a sandbox of its own. The zero value shares an instance among requests.
const IsolateRequests Isolation = "request"

// EncodeOptions is what drivers store of an API's options: a JSON object.
func EncodeOptions(o Options) (string, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return "", fmt.Errorf("write options of an API: %w", err)
	}
	return string(b), nil
}

// DecodeOptions reads what EncodeOptions wrote. Fields of a newer version are left out.
func DecodeOptions(b []byte) (o Options, err error) {
	if err := json.Unmarshal(b, &o); err != nil {
		return Options{}, fmt.Errorf("read options of an API: %w", err)
	}
	return o, nil
}
