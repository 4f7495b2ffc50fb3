package store

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// EgressUse is what an API's programs did towards one destination outside, since it was told last.
type EgressUse struct {
	APIID       string
	To          string // a name or address with its port, a name alone where a look-up was refused, or "others"
	Connections int64
	Sent        int64 // bytes
	Received    int64
	Refused     int64 // connections and look-ups
}

// EgressBatch is what a server tells at a time.
type EgressBatch struct {
	Source string // this start of a server, and no other
	Number int64  // from 1, and greater than that of the batch before
	Time   time.Time
	Uses   []EgressUse
}

// EgressSum is what EgressUses of one hour or day have together, or of all the time asked for. Of Start, APIID, UserID and To there
// are those that the sums are by.
type EgressSum struct {
	Start  time.Time // of the hour or day in UTC
	UserID string    // who owned the API when it was told
	EgressUse
}

// EgressBy says what Store.SumEgress tells apart.
type EgressBy string

// What can be told apart.
const (
	EgressByNothing     EgressBy = ""
	EgressByHour        EgressBy = "hour"
	EgressByDay         EgressBy = "day"
	EgressByAPI         EgressBy = "api"
	EgressByUser        EgressBy = "user"
	EgressByDestination EgressBy = "destination" // and by API
)

// EgressFilter selects what Store.SumEgress sums; zero fields select everything. Since is as in SumFilter.
type EgressFilter struct {
	By     EgressBy
	APIID  string
	UserID string
	Since  time.Time
}

// Spans is as SumFilter.Spans.
func (f EgressFilter) Spans() (hours, days time.Time) { return SumFilter{Since: f.Since}.Spans() }

// EgressColumns are the columns that are added up, apart by commas, in the order of EgressUse's fields. Drivers share their names.
const EgressColumns = `connections, sent, received, refused`

// Columns returns the columns that f tells apart, and those that select. An unknown By is an ErrInvalid.
func (f EgressFilter) Columns() (by []string, where map[string]any, err error) {
	switch f.By {
	case EgressByNothing:
	case EgressByHour, EgressByDay:
		by = []string{"start"}
	case EgressByAPI:
		by = []string{"api_id"}
	case EgressByUser:
		by = []string{"user_id"}
	case EgressByDestination:
		by = []string{"api_id", "destination"}
	default:
		return nil, nil, fmt.Errorf("%w: outgoing network by %q: use hour, day, api, user or destination", ErrInvalid, f.By)
	}
	where = map[string]any{}
	for column, value := range map[string]string{"api_id": f.APIID, "user_id": f.UserID} {
		if value != "" {
			where[column] = value
		}
	}
	return by, where, nil
}

// Statement is the query of a driver that adds up the rows of from, a query, as f asks for: start, API, user, destination and then
// the sums; see SumFilter.Statement.
func (f EgressFilter) Statement(from, nothing string, sum func(column string) string) (string, error) {
	by, _, err := f.Columns()
	if err != nil {
		return "", err
	}
	cells := []string{nothing, "''", "''", "''"}
	for i, column := range []string{"start", "api_id", "user_id", "destination"} {
		if slices.Contains(by, column) {
			cells[i] = column
		}
	}
	if f.By == EgressByDay {
		cells[0] = fmt.Sprintf("start - start %% %d", (24 * time.Hour).Microseconds())
	}
	for column := range strings.SplitSeq(EgressColumns, ", ") {
		cells = append(cells, sum(column))
	}
	query := `SELECT ` + strings.Join(cells, ", ") + ` FROM (` + from + `) s`
	if f.By == EgressByNothing {
		return query, nil
	}
	return query + ` GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4`, nil
}

// mostDestination bounds the text of a destination: 253 bytes of a name, and a port.
const mostDestination = 260

// Clean makes a use as it can be stored: text that is none is cut out of To, and no number is negative or can make a sum overflow.
func (u EgressUse) Clean() EgressUse {
	u.To = CleanText(u.To)
	if len(u.To) > mostDestination {
		u.To = CleanText(u.To[:mostDestination])
	}
	for _, n := range []*int64{&u.Connections, &u.Sent, &u.Received, &u.Refused} {
		*n = min(max(*n, 0), mostSummed)
	}
	return u
}

// Check reports a batch that cannot be stored, as an ErrInvalid.
func (b EgressBatch) Check() error {
	if b.Source == "" || b.Number < 1 {
		return fmt.Errorf("%w: a batch of egress has the source %q and the number %d", ErrInvalid, b.Source, b.Number)
	}
	return nil
}
