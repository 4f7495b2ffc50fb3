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

	// MinInstances run although nobody calls, MaxInstances bound how many there are, and ConcurrencyTarget is how many requests
	// in flight for each instance start one more.
	MinInstances      int `json:"min_instances,omitempty"`
	MaxInstances      int `json:"max_instances,omitempty"`
	ConcurrencyTarget int `json:"concurrency_target,omitempty"`
	// Isolation says what is never shared among requests.
	Isolation Isolation `json:"isolation,omitempty"`

	// Traffic is not set by name: deploys, rollbacks and whoever splits requests keep it.
	Traffic Traffic `json:"traffic,omitzero"`
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
