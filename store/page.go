package store

import (
	"strconv"
	"strings"
	"time"
)

// Position is a place in a list that is in the order of time and id, oldest or newest first: that of the row before. The zero
// value is the beginning.
type Position struct {
	At time.Time
	ID string
}

// APIFilter selects APIs; zero fields select everything.
type APIFilter struct {
	Name   string // is part of the name
	UserID string
	State  APIState
	Public *bool
	After  string // names after this one
	Limit  int    // 0: no limit
}

// APIState is how far an API came.
type APIState string

// The states of an API.
const (
	APIDeploying APIState = "deploying" // no version has taken traffic yet
	APIServing   APIState = "serving"
)

// VersionFilter selects versions of one API; zero fields but APIID select everything.
type VersionFilter struct {
	APIID string
	State VersionState
	Below int // numbers below this one; 0: no bound
	Limit int // 0: no limit
}

// Where is the condition of a filter, for both drivers.
func (f VersionFilter) Where() (where Where) {
	where.Add("api_id = ?", f.APIID)
	where.Is("state", string(f.State))
	if f.Below != 0 {
		where.Add("number < ?", f.Below)
	}
	return where
}

// KeyFilter selects keys; zero fields select everything.
type KeyFilter struct {
	APIID  string
	UserID string
	ID     string
	Called string // is the prefix, or the whole name
	Name   string // is part of the name
	State  KeyState
	Now    time.Time // for State; zero: now
	After  Position
	Limit  int // 0: no limit
}

// KeyState says whether a key is good.
type KeyState string

// The states of a key.
const (
	KeyValid KeyState = "valid"
	KeyEnded KeyState = "ended" // revoked or expired
)

// Where collects the terms of a statement's condition and their values. Drivers use it. The zero value is no condition.
type Where struct {
	terms []string
	Args  []any
}

// Add adds a term with a question mark for each of its values.
func (w *Where) Add(term string, args ...any) {
	w.terms, w.Args = append(w.terms, term), append(w.Args, args...)
}

// Is adds that a column has a value, unless that is empty.
func (w *Where) Is(column, value string) {
	if value != "" {
		w.Add(column+" = ?", value)
	}
}

// Within adds that the time is from since on and before until; zero times do not bound it.
func (w *Where) Within(since, until time.Time) {
	if !since.IsZero() {
		w.Add("time >= ?", since.UnixMicro())
	}
	if !until.IsZero() {
		w.Add("time < ?", until.UnixMicro())
	}
}

// String begins with WHERE, and is empty without a term.
func (w *Where) String() string {
	if len(w.terms) == 0 {
		return ""
	}
	return " WHERE (" + strings.Join(w.terms, ") AND (") + ")"
}

// Numbered writes $1, $2 and so on for the question marks of a statement, which has none in its texts.
func Numbered(statement string) string {
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(statement, "?") {
		if n > 0 {
			b.WriteString("$" + strconv.Itoa(n))
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}

// Limited adds LIMIT to a statement, where there is one.
func Limited(statement string, limit int) string {
	if limit <= 0 {
		return statement
	}
	return statement + " LIMIT " + strconv.Itoa(limit)
}

// Before adds what keeps a list in the order of time and id, newest first, to the rows after a position.
func (w *Where) Before(p Position) {
	if p != (Position{}) {
		at := p.At.UnixMicro()
		w.Add("time <= ? AND (time < ? OR id < ?)", at, at, p.ID) // the first term is for an index
	}
}

// After does the same for the order of creation, oldest first.
func (w *Where) After(p Position) {
	if p != (Position{}) {
		at := p.At.UnixMicro()
		w.Add("created_at >= ? AND (created_at > ? OR id > ?)", at, at, p.ID)
	}
}
