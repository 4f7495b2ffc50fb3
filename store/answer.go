package store

import (
	"fmt"
	"time"
)

// Answer is what a request with an idempotency key came to, kept so that the same request gets it again. All of it is opaque
// here: the id and the fingerprint are hashes, the text is encrypted by what only the client has.
type Answer struct {
	ID          [32]byte // of the key and whose it is
	Owner       string   // whose it is: the id of a token; empty: root
	Fingerprint [32]byte // of the request
	CreatedAt   time.Time
	ExpiresAt   time.Time // it is forgotten then
	WorkedUntil time.Time // while it is worked on, this is put off again and again; after it, nobody works on it any more
	Text        []byte    // empty: there is no answer yet
}

// Valid returns nil, or an ErrInvalid that names the field. Drivers call it.
func (a Answer) Valid() error {
	if a.ID == ([32]byte{}) || a.ExpiresAt.IsZero() || a.WorkedUntil.IsZero() {
		return fmt.Errorf("%w: an answer needs an id and both of its times", ErrInvalid)
	}
	return checkText("owner of an answer", a.Owner)
}

// KeptAnswers is how many answers are kept for one owner; older ones go, which is only ever noticed by who sends so many requests
// with a key within the time for which answers are kept.
const KeptAnswers = 10_000

// KeptAnswerBytes is how many bytes the texts of one owner's answers have together, beside those of up to ShortAnswer: whoever has a lot
// printed does not fill the database.
const (
	KeptAnswerBytes = 64 << 20
	ShortAnswer     = 4 << 10
)
