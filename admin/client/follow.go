package client

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"apibuilder/admin"
)

const (
	// patience is how long a server that went away is waited for: a restart, or an upgrade, takes less.
	patience  = 30 * time.Second
	lookAgain = 200 * time.Millisecond
)

// FollowLogs calls each with the lines of an API's log that query chooses, as GET /api/v1/apis/{api}/logs takes it, and with those that
// come, one after the other, until ctx or the query's `until` ends it, the API is removed, each returns an error, or the server went
// away and was not back within half a minute. away is called when that begins; the server that comes then, another one or the same, is
// asked for what was logged meanwhile, and no line is told twice.
func FollowLogs(ctx context.Context, c *Client, api string, query url.Values, away func(), each func(admin.LogLine) error) error {
	query = maps.Clone(query)
	query.Set("follow", "true")
	told := toldLines{lines: map[admin.LogLine]int{}}
	var stop error
	var gone time.Time // since when there is no server; zero: there is one
	began := false     // some answer did: what fails before that is the caller's to know
	var ahead time.Duration
	for {
		response, err := c.sendOnce(ctx, http.MethodGet, Path("apis", api, "logs")+"?"+query.Encode(), "", "", nil)
		if err == nil {
			began, gone, ahead = true, time.Time{}, aheadOf(response)
			fresh := told.again()
			err = eachLine(response.Body, func(line []byte) error {
				l, err := decode[admin.LogLine](line)
				if err == nil && fresh(l) {
					stop = each(l)
				}
				return errors.Join(err, stop)
			})
			_ = response.Body.Close()
		}
		problem, refused := errors.AsType[*admin.Problem](err)
		switch {
		case stop != nil:
			return stop
		case ctx.Err() != nil || err != nil && !began:
			return err
		case refused && problem.Type == "not_found", err == nil && over(query.Get("until"), time.Now().Add(ahead)):
			return nil
		case refused && problem.Status != http.StatusServiceUnavailable && problem.Type != "too_many": // our own broken one may count still
			return err
		case err == nil: // it ended in order
		case gone.IsZero():
			gone = time.Now()
			away()
		case time.Since(gone) > patience:
			return err
		}
		if !told.last.IsZero() {
			query.Set("since", told.last.Format(time.RFC3339Nano))
			query.Set("limit", strconv.Itoa(admin.MaxTail))
		}
		if err := pause(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// over reports whether a time has come; an empty one never does. An answer that ends before it ended with its server.
func over(until string, now time.Time) bool {
	at, err := time.Parse(time.RFC3339Nano, until)
	return err == nil && !now.Before(at)
}

// aheadOf is by how much the server's clock is ahead of this machine's, where that is more than its seconds tell.
func aheadOf(response *http.Response) time.Duration {
	date, err := http.ParseTime(response.Header.Get("Date"))
	ahead := time.Until(date)
	if err != nil || ahead.Abs() < 2*time.Second {
		return 0
	}
	return ahead
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// toldLines are the lines of the last moment that was told, and how often each was: those that a server asked for that moment and what
// followed says again.
type toldLines struct {
	last  time.Time
	lines map[admin.LogLine]int
}

// again begins another answer, and returns what reports whether its next line is one that was not told.
func (t *toldLines) again() (fresh func(admin.LogLine) bool) {
	repeated := maps.Clone(t.lines)
	return func(l admin.LogLine) bool {
		l.Time = l.Time.UTC()
		if repeated[l] > 0 {
			repeated[l]--
			return false
		}
		if l.Time.After(t.last) {
			t.last = l.Time
			clear(t.lines)
		}
		if l.Time.Equal(t.last) {
			t.lines[l]++
		}
		return true
	}
}
