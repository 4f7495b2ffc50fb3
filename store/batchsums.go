package store

import "time"

// BatchSums are the sums of some records, a list for each table of sums.
type BatchSums struct {
	Hours  []Sum // by hour, API, key and owner
	Days   []Sum // by day, API, key and owner
	Totals []Sum // by hour alone
	Routes []Sum // by day, API, owner and route
}

const day = 24 * time.Hour

// SumUp returns the sums of records that were made Clean. owner says whose an API is.
func SumUp(records []Usage, owner func(apiID string) string) BatchSums {
	finest := sumUp(records)
	for i := range finest {
		finest[i].UserID = owner(finest[i].APIID)
	}
	hours := merge(finest, func(s *Sum) Sum { return Sum{Start: s.Start, APIID: s.APIID, KeyID: s.KeyID, UserID: s.UserID} })
	return BatchSums{
		Hours: hours,
		Days: merge(hours, func(s *Sum) Sum {
			return Sum{Start: s.Start.Truncate(day), APIID: s.APIID, KeyID: s.KeyID, UserID: s.UserID}
		}),
		Totals: merge(hours, func(s *Sum) Sum { return Sum{Start: s.Start} }),
		Routes: merge(finest, func(s *Sum) Sum {
			return Sum{Start: s.Start.Truncate(day), APIID: s.APIID, UserID: s.UserID, Route: s.Route}
		}),
	}
}

// sumGroup is what a sum is of. An API has one owner.
type sumGroup struct {
	start           int64 // in seconds since 1970
	api, key, route string
}

func (s *Sum) group() sumGroup { return sumGroup{s.Start.Unix(), s.APIID, s.KeyID, s.Route} }

// sumUp adds up the records by hour, API, key and route. Most are like the one before, or at least of the same hour.
func sumUp(records []Usage) []Sum {
	at := map[sumGroup]int{}
	var all []Sum
	var hour, next time.Time
	var before sumGroup // of which n is the sum
	var n int
	for i := range records {
		u := &records[i]
		if u.Time.Before(hour) || !u.Time.Before(next) {
			hour = u.Time.UTC().Truncate(time.Hour)
			next = hour.Add(time.Hour)
		}
		group := sumGroup{hour.Unix(), u.APIID, u.KeyID, u.Route}
		if i == 0 || group != before {
			var ok bool
			if n, ok = at[group]; !ok {
				n = len(all)
				at[group] = n
				all = append(all, Sum{Start: hour, APIID: u.APIID, KeyID: u.KeyID, Route: u.Route})
			}
			before = group
		}
		all[n].Add(u)
	}
	return all
}

// merge adds up the sums for which of returns the same, in the order in which they begin to appear.
func merge(sums []Sum, of func(*Sum) Sum) []Sum {
	at := map[sumGroup]int{}
	var all []Sum
	for i := range sums {
		s := &sums[i]
		whose := of(s)
		n, ok := at[whose.group()]
		if !ok {
			n = len(all)
			at[whose.group()] = n
			all = append(all, whose)
		}
		all[n].add(s)
	}
	return all
}

func (s *Sum) add(o *Sum) {
	s.Requests += o.Requests
	s.Admitted += o.Admitted
	s.ClientErrors += o.ClientErrors
	s.ServerErrors += o.ServerErrors
	s.BytesIn += o.BytesIn
	s.BytesOut += o.BytesOut
	s.Duration += o.Duration
	s.StartWait += o.StartWait
	s.CPU += o.CPU
}
