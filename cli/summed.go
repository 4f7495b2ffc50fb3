package cli

import "time"

// summed is what a sum is of: the field that it is by has a value, and with some of them the API.
type summed struct {
	start                              *time.Time // nil where it is by neither hour nor day
	api, key, user, route, destination string
}

// summedHead names the columns that tell sums apart. Hours and days are printed in UTC, because they are.
func summedHead(by string) []any {
	return map[string][]any{
		"hour": {"HOUR (UTC)"}, "day": {"DAY (UTC)"}, "api": {"API"}, "key": {"API", "KEY"}, "user": {"USER"},
		"route": {"API", "ROUTE"}, "destination": {"API", "DESTINATION"},
	}[by]
}

// cells are those of summedHead's columns.
func (s summed) cells(by string) []any {
	switch by {
	case "hour":
		return []any{s.start.UTC().Format("2006-01-02 15:04")}
	case "day":
		return []any{s.start.UTC().Format("2006-01-02")}
	case "key":
		return []any{s.api, orDash(s.key)}
	case "user":
		return []any{orDash(s.user)}
	case "route":
		return []any{s.api, orDash(s.route)}
	case "destination":
		return []any{s.api, printable(s.destination)}
	}
	return []any{s.api}
}
