package gateway

import (
	"net/http"
	"strconv"
)

const (
	maxForwardsField = "Max-Forwards"

	mostForwards = 1_000_000 // that are passed on: more is taken for so many
)

// answerLast answers a request that has come as far as its consumer lets it (RFC 9110, 7.6.2), and reports whether it has answered. Of
// others it takes one off the number. What OPTIONS asks for is the program's to know, so that the answer says no more than that
// the consumer has come here; what TRACE asks for could show a consumer fields that its proxies have added.
func (a *answer) answerLast(r *http.Request) bool {
	if r.Method != http.MethodOptions && r.Method != http.MethodTrace {
		return false
	}
	values := r.Header[maxForwardsField]
	if values == nil {
		return false
	}
	n, ok := parseForwards(values[0])
	switch {
	case !ok || len(values) > 1:
		a.problem(wordBadMaxForwards)
	case n > 0:
		r.Header[maxForwardsField] = []string{strconv.Itoa(n - 1)}
		return false
	case r.Method == http.MethodTrace:
		a.problem(wordMethodNotSupported)
	default:
		a.settleBody()
		a.WriteHeader(http.StatusNoContent)
	}
	return true
}

// parseForwards reads 1*DIGIT; more than mostForwards is one more.
func parseForwards(text string) (n int, ok bool) {
	for i := range len(text) {
		c := text[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(10*n+int(c-'0'), mostForwards+1)
	}
	return n, text != ""
}
