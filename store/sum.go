package store

import (
	"fmt"
	"math"
	"net/http"
	"time"
)

// Sum is what usage records of one hour or day have together, or of all the time asked for.
type Sum struct {
	Start  time.Time // of the hour or day in UTC; zero when it is not by time
	APIID  string    // empty: of all, or the records had none
	KeyID  string
	UserID string // who owned the API when the records were stored
	Route  string // the program's route template; empty: it was not known

	Requests     int64
	Admitted     int64 // those that the gateway did not refuse for a limit, see Usage.Refused: what quotas count
	ClientErrors int64 // status 400 to 499
	ServerErrors int64 // status 500 and above
	BytesIn      int64
	BytesOut     int64
	Duration     time.Duration // in whole microseconds, as the others
	StartWait    time.Duration
	CPU          time.Duration
}

// SumBy says what Store.SumUsage tells apart.
type SumBy string

// What can be told apart.
const (
	ByNothing SumBy = ""
	ByHour    SumBy = "hour"
	ByDay     SumBy = "day"
	ByAPI     SumBy = "api"
	ByKey     SumBy = "key"
	ByUser    SumBy = "user"
	ByRoute   SumBy = "route" // of each API; keys are not told apart, and Since counts from the beginning of its day
)

// SumFilter selects what Store.SumUsage sums; zero fields select everything. Since counts from the beginning of its hour;
// where hourly sums were removed already, from the beginning of the day after.
type SumFilter struct {
	By     SumBy
	APIID  string
	KeyID  string
	UserID string
	Since  time.Time
}

// Columns returns the columns of the sums' tables that f tells apart, and those that select. An unknown By is an ErrInvalid.
func (f SumFilter) Columns() (by []string, where map[string]any, err error) {
	switch f.By {
	case ByNothing:
	case ByHour, ByDay:
		by = []string{"start"}
	case ByAPI:
		by = []string{"api_id"}
	case ByKey:
		by = []string{"api_id", "key_id"}
	case ByUser:
		by = []string{"user_id"}
	case ByRoute:
		by = []string{"api_id", "route"}
		if f.KeyID != "" {
			return nil, nil, fmt.Errorf("%w: sums by route do not tell keys apart: leave the key out", ErrInvalid)
		}
	default:
		return nil, nil, fmt.Errorf("%w: sums by %q: use hour, day, api, key, user or route", ErrInvalid, f.By)
	}
	where = map[string]any{}
	for column, value := range map[string]string{"api_id": f.APIID, "key_id": f.KeyID, "user_id": f.UserID} {
		if value != "" {
			where[column] = value
		}
	}
	return by, where, nil
}

// Spans returns where the hours begin that f asks for, and the days: the hours before the first whole day are taken from the
// hourly sums, the rest from the daily ones. ByHour takes all from the hourly sums, ByRoute from sums by route, which are daily.
func (f SumFilter) Spans() (hours, days time.Time) {
	if f.Since.IsZero() {
		return time.Time{}, time.Time{}
	}
	hours = f.Since.UTC().Truncate(time.Hour)
	days = hours.Truncate(24 * time.Hour)
	if f.By == ByRoute {
		return days, days
	}
	if days.Before(hours) {
		days = days.Add(24 * time.Hour)
	}
	return hours, days
}

// Refused reports whether the gateway refused the request because of a limit, or because nobody could count it. Such requests use up no
// quota. A program's own 429 is no refusal, also where it broke off and the record has an error for that.
func (u Usage) Refused() bool {
	switch u.Error {
	case "rate_limited", "over_quota", "too_many_at_once":
		return u.Status == http.StatusTooManyRequests
	case "store_unavailable":
		return u.Status == http.StatusServiceUnavailable
	}
	return false
}

// mostSummed bounds what one record adds to a sum, so that no record can make one overflow: 256 TiB, or 8 years.
const mostSummed = 1 << 48

// MostSum is where sums stop growing; drivers see to it.
const MostSum = 1 << 62

// Add counts a record that was made Clean.
func (s *Sum) Add(u *Usage) {
	s.Requests++
	if !u.Refused() {
		s.Admitted++
	}
	switch {
	case u.Status >= 500:
		s.ServerErrors++
	case u.Status >= 400:
		s.ClientErrors++
	}
	bound := func(n int64) int64 { return min(max(n, 0), mostSummed) }
	s.BytesIn += bound(u.BytesIn)
	s.BytesOut += bound(u.BytesOut)
	s.Duration += bounded(u.Duration)
	s.StartWait += bounded(u.StartWait)
	s.CPU += bounded(u.CPU)
}

// bounded is for a Duration, in which 8 years are a third of what fits; a batch of them may not.
func bounded(d time.Duration) time.Duration { return min(max(d, 0), 30*24*time.Hour) }

// ByHourAlone reports whether f asks for hours of everything together, for which there are sums of their own.
func (f SumFilter) ByHourAlone() bool {
	return f.By == ByHour && f.APIID == "" && f.KeyID == "" && f.UserID == ""
}

// Requests is how many there are in all sums.
func Requests(sums []Sum) (n int64) {
	for _, s := range sums {
		n += s.Requests
	}
	return n
}

// Micros is so many microseconds, or the longest duration there is.
func Micros(n int64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/int64(time.Microsecond))) * time.Microsecond
}
