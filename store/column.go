package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// Stamp is a time as drivers store it, in UTC and whole microseconds; a zero time becomes now.
func Stamp(t time.Time) time.Time {
	if t.IsZero() {
		t = time.Now()
	}
	return t.UTC().Truncate(time.Microsecond)
}

// EncodeEnv is what drivers store of a version's environment: a JSON object.
func EncodeEnv(env map[string]string) (string, error) {
	if len(env) == 0 {
		return "{}", nil
	}
	b, err := json.Marshal(env)
	return string(b), err
}

// DecodeEnv reads what EncodeEnv wrote. It returns nil for an empty environment, and keeps values out of its error.
func DecodeEnv(b []byte) (map[string]string, error) {
	var env map[string]string
	if err := json.Unmarshal(b, &env); err != nil {
		return nil, errors.New("read env of a version: not a JSON object of strings")
	}
	if len(env) == 0 {
		return nil, nil
	}
	return env, nil
}

// DecodeHash reads the hash of a key or token.
func DecodeHash(b []byte) (hash [32]byte, err error) {
	if copy(hash[:], b) != len(hash) || len(b) != len(hash) {
		return hash, fmt.Errorf("read hash: %d bytes instead of %d", len(b), len(hash))
	}
	return hash, nil
}

// SinceMicros is where a selection since t begins, as drivers store times; a zero t is before everything.
func SinceMicros(t time.Time) int64 {
	if t.IsZero() {
		return math.MinInt64
	}
	return t.UnixMicro()
}
