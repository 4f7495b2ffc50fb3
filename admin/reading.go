package admin

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// maxUsage is how many records a request gets at most.
const maxUsage = 10000

func number(r *http.Request, name string, otherwise, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, badRequest(fmt.Sprintf("%s=%q is not a number from 0 to %d", name, text, most), "leave it out, or give one")
	}
	return n, nil
}

// expiryIn reads the end of a key or token, the zero time for none.
func expiryIn(what string, at *time.Time, now time.Time) (time.Time, error) {
	switch {
	case at == nil:
		return time.Time{}, nil
	case !at.After(now):
		return time.Time{}, badRequest(fmt.Sprintf("the %s would have expired at %s", what, at.Format(time.RFC3339)), "give a time to come")
	case !hasForm(*at):
		return time.Time{}, badRequest(fmt.Sprintf("the %s would expire after the year 9999, UTC", what), "give an earlier time, or none")
	}
	return *at, nil
}

// parseTime reads a time that an answer can repeat.
func parseTime(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err == nil && !hasForm(at) {
		err = fmt.Errorf("%s is in a year without four digits, in UTC", text)
	}
	return at, err
}

// hasForm reports whether a time can be written in UTC, as all answers do: a zone takes the last hours of 9999 into a year that
// neither RFC 3339 nor encoding/json has a form for.
func hasForm(at time.Time) bool {
	year := at.UTC().Year()
	return year >= 0 && year <= 9999
}
