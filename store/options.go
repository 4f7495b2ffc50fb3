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
	// Quota is how many requests a calendar month (UTC) all consumers together may make; zero: no limit.
	Quota int64 `json:"quota,omitempty"`
	// RatePerAddress limits each client's address that calls without a key, an IPv6 one by its /64; zero: no limit.
	RatePerAddress Rate `json:"rate_per_address,omitzero"`
}

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
