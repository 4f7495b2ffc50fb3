package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Key is what a consumer presents. The secret itself is never stored: Hash is SHA-256 over it (the secret has 160 random
// bits, so a plain hash cannot be searched). A key opens one API, or all APIs of a user.
type Key struct {
	ID        string // "key_" and 16 characters
	APIID     string // what it opens; empty: it is a user's
	UserID    string // whose APIs it opens, whichever they are then; empty: it is an API's
	Name      string // a label for people, may be empty
	Prefix    string // the secret's first characters, to recognise it by
	Hash      [32]byte
	Rate      Rate
	Quota     int64    // requests a calendar month (UTC); 0: no limit
	Allow     []string // what it may be used for, see ParseScope; empty: everything
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
	RevokedAt time.Time // zero: valid

	// LastUsedAt is the time of the newest usage record with this key, to the last batch that AddUsage stored.
	LastUsedAt time.Time

	// The secret before the last rotation and how long it is good; zero: there is none.
	PreviousPrefix string
	PreviousHash   [32]byte
	PreviousUntil  time.Time
}

// Ends returns when a secret of k's, named by its hash, stops being good, apart from RevokedAt; the zero time: never.
func (k Key) Ends(hash [32]byte) time.Time {
	if hash == k.Hash || !k.ExpiresAt.IsZero() && k.ExpiresAt.Before(k.PreviousUntil) {
		return k.ExpiresAt
	}
	return k.PreviousUntil
}

// Valid returns nil, or an ErrInvalid that names the field.
func (k Key) Valid() error {
	err := errors.Join(required("key id", k.ID), checkText("key name", k.Name), checkText("key prefix", k.Prefix))
	if (k.APIID == "") == (k.UserID == "") {
		err = errors.Join(err, fmt.Errorf("%w: key %q must be an API's or a user's", ErrInvalid, k.ID))
	}
	if k.Quota < 0 {
		err = errors.Join(err, fmt.Errorf("%w: quota of %d requests: use a positive number, or zero for none", ErrInvalid, k.Quota))
	}
	for _, one := range k.Allow {
		if _, bad := ParseScope(one); bad != nil {
			err = errors.Join(err, fmt.Errorf("%w: %w", ErrInvalid, bad))
		}
	}
	return err
}

// Rotate returns k with another secret; the one that it has is good until a time. Drivers call it.
func (k Key) Rotate(prefix string, hash [32]byte, until time.Time) (Key, error) {
	if !k.RevokedAt.IsZero() {
		return k, fmt.Errorf("%w: key %q is revoked: create another", ErrInvalid, k.ID)
	}
	k.PreviousPrefix, k.PreviousHash, k.PreviousUntil = k.Prefix, k.Hash, Stamp(until)
	k.Prefix, k.Hash = prefix, hash
	return k, k.Valid()
}

// EncodeAllow is what drivers store of Key.Allow: a JSON list.
func EncodeAllow(allow []string) (string, error) {
	if len(allow) == 0 {
		return "[]", nil
	}
	b, err := json.Marshal(allow)
	return string(b), err
}

// DecodeAllow reads what EncodeAllow wrote. An error must not be taken for an empty list, which allows everything.
func DecodeAllow(text string) (allow []string, err error) {
	if err := json.Unmarshal([]byte(text), &allow); err != nil || allow == nil {
		return nil, errors.New("read what a key allows: not a JSON list of strings")
	}
	if len(allow) == 0 {
		return nil, nil
	}
	return allow, nil
}

// EncodeHash is what drivers store of a hash that may be missing: nil for the zero one.
func EncodeHash(hash [32]byte) []byte {
	if hash == ([32]byte{}) {
		return nil
	}
	return hash[:]
}
